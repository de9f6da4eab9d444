// SPDX-License-Identifier: Apache-2.0
/** FFM bindings of the Gatun kernels: one typed call per operation, on memory segments. */
module dev.gatun.primitives {
    requires static transitive org.jspecify;

    exports dev.gatun.primitives;
}
