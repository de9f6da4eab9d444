// SPDX-License-Identifier: Apache-2.0
// Checks shared by the operations that draw random numbers.
#pragma once

#include "gatun/base.h"

namespace gatun {

void check_key(const gatun_random_key* key);

// ids is absent or i64 (rows).
void check_ids(const gatun_layout& layout, const void* ids, int64_t rows);

}  // namespace gatun
