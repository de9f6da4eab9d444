// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.layer;

import dev.gatun.primitives.DType;
import dev.gatun.tensor.Tensor;
import java.util.Collection;
import java.util.IdentityHashMap;
import java.util.Map;

/**
 * The parameters of a store once more, in the dtype that a network computes in: one flat buffer beside the f32 one, filled from it by one
 * cast. It lives as long as the store's values do.
 */
final class ComputeCopy {
    private static final class Part {
        final Tensor tensor;
        int seen = -1;

        Part(Tensor tensor) {
            this.tensor = tensor;
        }
    }

    private final Tensor values;
    private final Tensor copy;
    private final Map<Parameter, Part> parts = new IdentityHashMap<>();
    private int seen = -1;

    ComputeCopy(Tensor values, Collection<Parameter> parameters, DType type) {
        this.values = values;
        copy = values.scope().empty(type, values.shape());
        parameters.forEach(p -> parts.put(p, new Part(copy.part(p.offset(), p.shape()))));
    }

    /** The parameter in this dtype, as of the last {@link #cast}. */
    Tensor of(Parameter parameter) {
        return parts.get(parameter).tensor;
    }

    /** Whether the parameter was written since the last {@link #cast}. */
    boolean stale(Parameter parameter) {
        return seen != values.version() || parts.get(parameter).seen != parameter.value().version();
    }

    /** Casts all parameters. Tapes that still need the old ones of those that were written are told. */
    void cast() {
        copy.castFrom(values);
        boolean all = seen != values.version();
        seen = values.version();
        parts.forEach((parameter, part) -> {
            int version = parameter.value().version();
            if (all || part.seen != version) {
                part.seen = version;
                part.tensor.written();
            }
        });
    }
}
