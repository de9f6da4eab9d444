// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.pipeline;

/**
 * A section whose {@code name} selects a provider.
 *
 * @param name the provider's name
 * @param provider the provider
 * @param settings an instance of the provider's settings record
 * @param <P> the provider's type
 */
public record Section<P>(String name, P provider, Record settings) {}
