// SPDX-License-Identifier: Apache-2.0
/** Methods, the trainer, checkpoints, the evaluation and the report. Knows no modality: views are tensors. */
module dev.gatun.learning {
    requires static transitive org.jspecify;
    requires transitive dev.gatun.data;
    requires java.compiler;
    requires tools.jackson.databind;
    requires tools.jackson.dataformat.yaml;
    requires ejml.core;
    requires ejml.ddense;

    exports dev.gatun.learning;
    exports dev.gatun.learning.checkpoint;
    exports dev.gatun.learning.comparison;
    exports dev.gatun.learning.evaluation;
    exports dev.gatun.learning.method;
    exports dev.gatun.learning.optimizer;
    exports dev.gatun.learning.pipeline;
    exports dev.gatun.learning.profile;
    exports dev.gatun.learning.report;

    opens dev.gatun.learning.comparison to
            tools.jackson.databind;

    uses dev.gatun.data.DatasetProvider;
    uses dev.gatun.data.ViewsProvider;
    uses dev.gatun.learning.MethodProvider;
    uses dev.gatun.learning.OptimizerProvider;
    uses dev.gatun.tensor.layer.EncoderProvider;

    provides dev.gatun.learning.MethodProvider with
            dev.gatun.learning.method.SwavProvider,
            dev.gatun.learning.method.SimClrProvider,
            dev.gatun.learning.method.SupConProvider,
            dev.gatun.learning.method.ByolProvider,
            dev.gatun.learning.method.DeepClusterProvider,
            dev.gatun.learning.method.DeepClusterV2Provider,
            dev.gatun.learning.method.CosubProvider,
            dev.gatun.learning.method.SupervisedProvider;
    provides dev.gatun.learning.OptimizerProvider with
            dev.gatun.learning.optimizer.AdamWProvider,
            dev.gatun.learning.optimizer.SgdProvider,
            dev.gatun.learning.optimizer.LarsProvider,
            dev.gatun.learning.optimizer.LarcProvider;
}
