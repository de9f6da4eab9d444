// SPDX-License-Identifier: Apache-2.0
/**
 * @file gatun.h
 * The C interface of Gatun. The same symbols are in every library of it, one library a device.
 */
#ifndef GATUN_H
#define GATUN_H

#include "gatun/base.h"
#include "gatun/memory.h"
#include "gatun/group_norm.h"
#include "gatun/layer_norm.h"
#include "gatun/linear_cross_entropy.h"
#include "gatun/cross_entropy.h"
#include "gatun/softmax.h"
#include "gatun/batch_norm.h"
#include "gatun/activation.h"
#include "gatun/attention.h"
#include "gatun/augmentation.h"
#include "gatun/ceiling.h"
#include "gatun/convolution.h"
#include "gatun/elementwise.h"
#include "gatun/gemm.h"
#include "gatun/info_nce.h"
#include "gatun/kmeans.h"
#include "gatun/matmul.h"
#include "gatun/l2_normalize.h"
#include "gatun/optimizer.h"
#include "gatun/pooling.h"
#include "gatun/gather_rows.h"
#include "gatun/random.h"
#include "gatun/reduction.h"
#include "gatun/sinkhorn.h"
#include "gatun/stochastic_depth.h"

#endif
