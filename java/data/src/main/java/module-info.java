// SPDX-License-Identifier: Apache-2.0
import dev.gatun.data.DatasetProvider;
import dev.gatun.data.FashionMnistProvider;
import dev.gatun.data.IdxProvider;
import dev.gatun.data.RandomProvider;
import dev.gatun.data.ViewsProvider;

/** Data sets, subsets, shuffles, batches and loaders. Knows no modality: elements are bytes with a shape. */
module dev.gatun.data {
    requires static transitive org.jspecify;
    requires transitive dev.gatun.tensor;

    exports dev.gatun.data;

    uses DatasetProvider;
    uses ViewsProvider;

    provides DatasetProvider with FashionMnistProvider, IdxProvider, RandomProvider;
}
