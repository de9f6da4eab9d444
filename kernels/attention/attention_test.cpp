// SPDX-License-Identifier: Apache-2.0
#include "kernels/attention/attention_cases.h"

TEST_CASE_TEMPLATE("attention matches the double reference for odd lengths and head dimensions, as views of one buffer and apart", S, GATUN_STORAGES) {
  uint32_t seed = 1;
  for (const auto& [depth, length] : kSizes) {
    for (const bool causal : {false, true}) {
      const Case c{.batch = kMany, .queries = length, .keys = length, .heads = kMany, .depth = depth, .causal = causal, .one_buffer = length != 50};
      check<S>(c, random_inputs(c, seed += 5));
    }
  }
}

TEST_CASE_TEMPLATE("attention with different numbers of queries and keys, more than one chunk, few and many heads", S, GATUN_STORAGES) {
  uint32_t seed = 1000;
  for (const auto& [queries, keys] : kUnequal) {
    for (const bool causal : {false, true}) {
      const Case few{.batch = 1, .queries = queries, .keys = keys, .heads = 1, .depth = 17, .causal = causal};
      if (kMany > 1 || causal) check<S>(few, random_inputs(few, seed += 5));
      if (kMany == 1 && causal) continue;
      Case many = few;
      many.batch = many.heads = 2 * kMany;
      many.depth = 5;
      check<S>(many, random_inputs(many, seed += 5));
    }
  }
}

#if !defined(GATUN_CUDA)
TEST_CASE("attention of every number of queries behind the last vector, alone and behind whole blocks") {
  uint32_t seed = 1500;
  for (const int64_t start : {0, 64, 256}) {
    for (int64_t more = 1; more <= 17; ++more) {
      const Case c{.batch = 1, .queries = start + more, .keys = more % 2 == 0 ? start + more : 19, .heads = 2, .depth = more % 3 == 0 ? 40 : 64,
                   .causal = more % 2 == 0 && start > 0};
      check(c, random_inputs(c, seed += 5));
    }
  }
}
#endif

TEST_CASE_TEMPLATE("attention over sequences of several lengths, some empty, with rows in no sequence", S, GATUN_STORAGES) {
  uint32_t seed = 2000;
  for (const bool causal : {false, true}) {
    const Case crops{.batch = 5, .queries = 240, .keys = 240, .heads = kMany, .depth = 64, .causal = causal,
                     .query_offsets = {0, 37, 37, 134, 184, 240}, .key_offsets = {0, 37, 37, 134, 184, 240}, .one_buffer = true};
    check<S>(crops, random_inputs(crops, seed += 5));
    // Sequence 0 has no keys, 1 no queries; rows 0, 1 and 90 … of q and 0 and 99 of k belong to nobody.
    const Case mixed{.batch = 4, .queries = 93, .keys = 100, .heads = 2, .depth = 9, .causal = causal,
                     .query_offsets = {2, 12, 12, 60, 90}, .key_offsets = {1, 1, 30, 50, 99}};
    const Data<float> d = random_inputs(mixed, seed += 5);
    check<S>(mixed, d);
    const Answer<float> a = run_kernel<S>(mixed, d);
    CHECK(all_equal<float>({a.out.begin(), a.out.begin() + 12 * 18}, 0.0f));
    CHECK(all_equal<float>({a.lse.begin(), a.lse.begin() + 12}, -kInf));
    CHECK(all_equal<float>({a.dq.begin() + 90 * 18, a.dq.end()}, 0.0f));
  }
  const Case none{.batch = 0, .queries = 4, .keys = 5, .heads = 2, .depth = 3, .query_offsets = {0}, .key_offsets = {0}};
  CHECK(all_equal(run_kernel<S>(none, random_inputs(none, 1)).out, 0.0f));
}

TEST_CASE("a ragged batch gives the bits of its sequences alone") {
  const Case together{.batch = 2, .queries = 87, .keys = 87, .heads = 2, .depth = 64, .query_offsets = {0, 37, 87}, .key_offsets = {0, 37, 87}};
  const Data<float> d = random_inputs(together, 2500);
  const Answer<float> all = run_kernel(together, d);
  const Case alone{.batch = 1, .queries = 50, .keys = 50, .heads = 2, .depth = 64};
  const auto tail = [](const std::vector<float>& x) { return std::vector<float>(x.begin() + 37 * 128, x.end()); };
  const Answer<float> one = run_kernel(alone, {tail(d.q), tail(d.k), tail(d.v), {}, tail(d.dout)});
  CHECK(gatun::testing::same_bits(one.out, tail(all.out)));
  CHECK(gatun::testing::same_bits(one.dk, tail(all.dk)));
}

TEST_CASE("attention with a bias in every broadcast, and its gradient summed accordingly") {
  uint32_t seed = 3000;
  for (const int64_t batch : {1, 3}) {
    for (const int64_t heads : {1, 2}) {
      for (const int64_t queries : {1, 67}) {
        if (kMany == 1 && (batch == 1) != (heads == queries)) continue;  // half of the combinations
        // On CUDA two tiles of queries and of keys, and two slices of the head dimension.
        const Case c{.batch = 3, .queries = 67, .keys = kMany == 1 ? 37 : 150, .heads = 2, .depth = kMany == 1 ? 34 : 20, .causal = batch == 1, .bias_batch = batch,
                     .bias_heads = heads, .bias_queries = queries};
        check(c, random_inputs(c, seed += 5));
      }
    }
  }
}

TEST_CASE_TEMPLATE("keys excluded by a bias of -inf; a query that sees none gives 0", S, GATUN_STORAGES) {
  const Case c{.batch = 2, .queries = 21, .keys = 140, .heads = 2, .depth = 12, .bias_batch = 2, .bias_heads = 1, .bias_queries = 21};
  Data<float> d = random_inputs(c, 4000);
  for (size_t i = 0; i < d.bias.size(); ++i) {
    const size_t row = i / 140;
    if (row == 3 || row == 41 || i % 3 == 0 || i % 140 >= 130) d.bias[i] = -kInf;
    if (row == 5 && i % 140 < 128) d.bias[i] = -kInf;  // nothing in the first tile
  }
  check<S>(c, d);
  const Answer<float> a = run_kernel<S>(c, d);
  const auto row = [](const std::vector<float>& x, int64_t r) { return std::vector<float>(x.begin() + r * 24, x.begin() + (r + 1) * 24); };
  for (const int64_t r : {3, 41}) {
    CHECK(all_equal(row(a.out, r), 0.0f));
    CHECK(all_equal(row(a.dq, r), 0.0f));
  }
  CHECK(a.lse[3] == -kInf);
  CHECK(std::isfinite(a.lse[4]));
}

TEST_CASE("attention without queries, keys or batch; without the log-sum-exp") {
  const Case no_keys{.batch = 2, .queries = 5, .keys = 0, .heads = 2, .depth = 3};
  const Answer<float> empty = run_kernel(no_keys, random_inputs(no_keys, 1));
  CHECK(all_equal(empty.out, 0.0f));
  CHECK(all_equal(empty.lse, -kInf));
  CHECK(all_equal(empty.dq, 0.0f));
  const Case no_queries{.batch = 2, .queries = 0, .keys = 5, .heads = 2, .depth = 3, .bias_batch = 1, .bias_heads = 2, .bias_queries = 1};
  const Answer<float> unused = run_kernel(no_queries, random_inputs(no_queries, 2));
  CHECK(all_equal(unused.dk, 0.0f));
  CHECK(all_equal(unused.dv, 0.0f));
  CHECK(all_equal(unused.dbias, 0.0f));
  const Case no_batch{.batch = 0, .queries = 5, .keys = 5, .heads = 2, .depth = 3};
  CHECK(run_kernel(no_batch, random_inputs(no_batch, 3)).out.empty());

  const Case c{.batch = 1, .queries = 9, .keys = 9, .heads = 1, .depth = 4};
  const Data<float> d = random_inputs(c, 4);
  Device device;
  const gatun_layout x = layout(GATUN_F32, {1, 9, 1, 4});
  const gatun_attention_desc desc{sizeof desc, 0, c.scale(), 0, x, x, x, {}, {}, {}, x, {}};
  size_t bytes = 0;
  run([&](gatun_error* e) { return gatun_attention_forward_workspace(device.stream(), &desc, &bytes, e); });
  Workspace workspace(bytes);
  const Memory<float> q(d.q), k(d.k), v(d.v);
  Memory<float> out(36, kGuard);
  run([&](gatun_error* e) {
    return gatun_attention_forward(device.stream(), &desc, q.data(), k.data(), v.data(), nullptr, nullptr, nullptr, out.data(), nullptr,
                                   workspace.data(), bytes, e);
  });
  CHECK(gatun::testing::same_bits(out.values(), run_kernel(c, d).out));
}

TEST_CASE_TEMPLATE("NaN reaches every row that sees it and no other head", S, GATUN_STORAGES) {
  const Case c{.batch = 1, .queries = 70, .keys = kMany == 1 ? 70 : 140, .heads = 2, .depth = 16};
  // The bits that a NaN carries change nothing.
  const uint32_t bits = 0x7fc00001;
  float loaded;
  std::memcpy(&loaded, &bits, sizeof loaded);
  for (const auto& [where, nan] : std::vector<std::pair<const char*, float>>{
           {"q", kNan}, {"k", kNan}, {"v", kNan}, {"dout", kNan}, {"q", loaded}, {"k", loaded}, {"q", -loaded}, {"k", -loaded}}) {
    CAPTURE(where);
    if (kMany == 1 && !same_bits({nan}, {kNan})) continue;
    Data<float> d = random_inputs(c, 5000);
    std::vector<float>& target = *where == 'q' ? d.q : *where == 'k' ? d.k : *where == 'v' ? d.v : d.dout;
    target[20 * 32 + 3] = nan;  // row 20, head 0
    const Answer<float> a = run_kernel<S>(c, d);
    for (int64_t r = 0; r < 70; ++r) {
      const bool hit = *where == 'v' ? true : *where == 'k' ? true : *where == 'q' ? r == 20 : false;
      CHECK(std::isnan(a.out[static_cast<size_t>(r * 32 + 3)]) == hit);
      CHECK(std::isfinite(a.out[static_cast<size_t>(r * 32 + 16 + 3)]));
      if (*where == 'q' || *where == 'k') CHECK(std::isnan(a.lse[static_cast<size_t>(r)]) == hit);
    }
    CHECK(std::isnan(a.dq[20 * 32 + 3]));
    CHECK(std::isnan(a.dk[60 * 32 + 3]));
    CHECK(std::isfinite(a.dk[60 * 32 + 16 + 3]));
    if (*where != 'v') CHECK(std::isnan(a.dv[60 * 32 + 3]));
  }
}

TEST_CASE_TEMPLATE("scores of hundreds do not overflow, and maxima that grow rescale what was summed", S, GATUN_STORAGES) {
  for (const int64_t keys : {1, 33, 136, 140}) {
    const Case c{.batch = 1, .queries = 33, .keys = keys, .heads = 1, .depth = 64};
    Data<float> d = random_inputs(c, 6000);
    for (float& x : d.q) x *= 100;
    check<S>(c, d);
  }
}

#if !defined(GATUN_CUDA)
TEST_CASE("what a key without weight holds stays with that key") {
  const Case c{.batch = 1, .queries = 9, .keys = 20, .heads = 1, .depth = 16, .bias_batch = 1, .bias_heads = 1, .bias_queries = 9};
  Data<float> d = random_inputs(c, 6400);
  for (int64_t q = 0; q < c.queries; ++q) d.bias[static_cast<size_t>(q * c.keys + 7)] = -kInf;
  for (int64_t i = 0; i < c.depth; ++i) d.v[static_cast<size_t>(7 * c.depth + i)] = 3e38f;  // dout·vᵀ overflows
  for (float& x : d.dout) x = std::abs(x) + 1;
  const Answer<float> a = run_kernel(c, d);
  for (int64_t q = 0; q < c.queries; ++q) {
    for (int64_t k = 0; k < c.keys; ++k) CHECK(std::isfinite(a.dbias[static_cast<size_t>(q * c.keys + k)]) == (k != 7));
  }
  for (int64_t k = 0; k < c.keys; ++k) CHECK(std::isfinite(a.dk[static_cast<size_t>(k * c.depth)]) == (k != 7));
}
#endif

TEST_CASE_TEMPLATE("a scale may be 0 or negative, with a mask and with a bias", S, GATUN_STORAGES) {
  uint32_t seed = 6500;
  for (const float factor : {0.0f, -1.5f}) {
    for (const int64_t bias : {0, 1}) {
      const Case c{.batch = 1, .queries = 20, .keys = 35, .heads = 2, .depth = 16, .causal = true, .bias_batch = bias, .bias_heads = 2 * bias,
                   .bias_queries = 20 * bias, .scale_factor = factor};
      check<S>(c, random_inputs(c, seed += 5));
    }
  }
}

#if defined(GATUN_CUDA)
TEST_CASE("offsets that leave the operands give NaN everywhere and touch nothing else") {
  for (const std::vector<int32_t>& wrong : {std::vector<int32_t>{-1, 40, 90}, {0, 91, 90}, {0, 40, 91}, {0, 2000000000, 90}}) {
    for (const bool queries : {false, true}) {
      const std::vector<int32_t> right = {0, 40, 90};
      const Case c{.batch = 2, .queries = 90, .keys = 90, .heads = 2, .depth = 16, .query_offsets = queries ? wrong : right,
                   .key_offsets = queries ? right : wrong};
      const Answer<float> a = run_kernel(c, random_inputs(c, 6700));
      for (const std::vector<float>* values : {&a.out, &a.lse, &a.dq, &a.dk, &a.dv}) {
        CHECK(std::all_of(values->begin(), values->end(), [](float x) { return std::isnan(x); }));
      }
    }
  }
}
#endif

TEST_CASE("attention reference gradient agrees with finite differences") {
  for (const bool causal : {false, true}) {
    const Case c{.batch = 2, .queries = 3, .keys = 4, .heads = 1, .depth = 2, .causal = causal, .bias_batch = 1, .bias_heads = 1, .bias_queries = 3};
    const Data<double> d = widen(random_inputs(c, 7000));
    const Answer<double> a = reference(c, d);
    const auto objective = [&](std::vector<double> Data<double>::* member) {
      return [&, member](const std::vector<double>& x) {
        Data<double> moved = d;
        moved.*member = x;
        const std::vector<double> out = reference(c, moved).out;
        return std::inner_product(out.begin(), out.end(), d.dout.begin(), 0.0);
      };
    };
    const auto compare = [&](std::vector<double> Data<double>::* member, const std::vector<double>& gradient) {
      for (size_t i = 0; i < gradient.size(); ++i) {
        CHECK(std::abs(central_difference(objective(member), d.*member, i) - gradient[i]) < 1e-8);
      }
    };
    compare(&Data<double>::q, a.dq);
    compare(&Data<double>::k, a.dk);
    compare(&Data<double>::v, a.dv);
    compare(&Data<double>::bias, a.dbias);
  }
}

#if !defined(GATUN_CUDA)
TEST_CASE("attention gives the same bits for any number of threads") {
  // Ten heads are cut finer for two threads than for one.
  for (const Case& c : {Case{.batch = 3, .queries = 197, .keys = 197, .heads = 2, .depth = 64, .one_buffer = true},
                        Case{.batch = 5, .queries = 197, .keys = 140, .heads = 2, .depth = 64, .causal = true},
                        Case{.batch = 1, .queries = 300, .keys = 600, .heads = 2, .depth = 20, .causal = true, .bias_batch = 1, .bias_heads = 1,
                             .bias_queries = 300},
                        Case{.batch = 3, .queries = 187, .keys = 187, .heads = 2, .depth = 33, .query_offsets = {0, 37, 137, 187},
                             .key_offsets = {0, 37, 137, 187}}}) {
    Data<float> d = random_inputs(c, 8000);
    for (const bool nan : {false, true}) {
      // of the third last key, which with causal the last three queries see
      if (nan) d.v[d.v.size() - static_cast<size_t>(3 * c.heads * c.depth)] = kNan;
      const Answer<float> one = run_kernel(c, d, 1);
      for (const int threads : {2, 3, 40}) CHECK(same_bits(one, run_kernel(c, d, threads)));
    }
  }
}
#endif
