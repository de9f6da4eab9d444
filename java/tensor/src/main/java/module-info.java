// SPDX-License-Identifier: Apache-2.0
/** Tensors with scoped memory, reverse-mode differentiation, layers, optimizers and GEMM. */
module dev.gatun.tensor {
    requires static transitive org.jspecify;
    requires transitive dev.gatun.primitives;
    requires static org.bytedeco.cuda;
    requires org.bytedeco.dnnl;

    exports dev.gatun.tensor;
    exports dev.gatun.tensor.function;
    exports dev.gatun.tensor.layer;
    exports dev.gatun.tensor.optimizer;
}
