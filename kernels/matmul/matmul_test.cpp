// SPDX-License-Identifier: Apache-2.0
#include "kernels/matmul/matmul_reference.h"

#include "kernels/testing/memory.h"
#include "kernels/testing/storage.h"
#include "kernels/testing/strided.h"
#include "kernels/testing/testing.h"
#include "kernels/testing/workspace.h"

using namespace gatun;
using namespace gatun::testing;

namespace {

constexpr gatun_layout kAbsent{};

// What is asked for, beside the shape.
struct Form {
  bool transpose_a = false, transpose_b = false;
  int64_t padding = 0;
  int32_t a_prologue = 0, b_prologue = 0, activation = 0;
  bool accumulate = false, affine = true, scale_m = false, scale_k = false, bias = false, hidden = false, residual = false, in_place = false, sums = false;
  int64_t scales = 0, factors = 0;  // elements of the scale of the longer side and of factor_m; 0: as many as the extent, or none
  bool factor_m = false, factor_n = false;
};

struct Problem {
  int64_t m, n, k;
  Form form;
  std::vector<float> a, b, c, mean, rstd, gamma, beta, scale_m, scale_k, bias, hidden, factor_m, factor_n, residual, a_sums;

  Problem(int64_t m, int64_t n, int64_t k, const Form& f, uint32_t seed) : m(m), n(n), k(k), form(f) {
    const auto some = [&](bool wanted, int64_t count) { return wanted ? normal(count, seed += 7) : std::vector<float>{}; };
    a = some(true, m * k);
    b = some(true, k * n);
    c = some(true, m * n);
    const bool of_a = f.a_prologue == GATUN_MATMUL_LAYER_NORM, of_b = f.b_prologue == GATUN_MATMUL_LAYER_NORM;
    for (float& value : of_a ? a : b) value += of_a || of_b ? 0.5f : 0.0f;
    if (of_b) {
      mean = some(true, k);
      rstd = some(true, k);
    }
    gamma = some((of_a || of_b) && f.affine, of_a ? k : n);
    beta = some((of_a || of_b) && f.affine, of_a ? k : n);
    scale_m = some(f.scale_m, f.scales > 0 && m % f.scales == 0 ? f.scales : m);
    scale_k = some(f.scale_k, f.scales > 0 && k % f.scales == 0 ? f.scales : k);
    bias = some(f.bias, n);
    hidden = some(f.activation == GATUN_MATMUL_GELU_GRADIENT, m * n);
    factor_m = some(f.factor_m, f.factors > 0 && m % f.factors == 0 ? f.factors : m);
    factor_n = some(f.factor_n, n);
    residual = some(f.residual || f.in_place, m * n);
    if (f.in_place) c = residual;
    a_sums = some(f.sums, m);
  }

  template <class T>
  MatmulReference<T> reference() const {
    const auto wide = [](const std::vector<float>& v) { return std::vector<T>(v.begin(), v.end()); };
    MatmulReference<T> r{m, n, k, form.a_prologue, form.b_prologue, form.activation, form.accumulate, static_cast<T>(1e-6f), wide(a), wide(b), wide(c),
                         wide(gamma), wide(beta), wide(scale_m), wide(scale_k), wide(bias), wide(hidden), wide(factor_m), wide(factor_n),
                         wide(residual), wide(a_sums), wide(mean), wide(rstd)};
    r.compute(form.sums, form.activation == GATUN_MATMUL_TO_GELU && form.hidden);
    return r;
  }
};

std::vector<float> turned(const std::vector<float>& x, int64_t rows, int64_t columns) {
  std::vector<float> y(x.size());
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) y[static_cast<size_t>(j * rows + i)] = x[static_cast<size_t>(i * columns + j)];
  }
  return y;
}

struct Result {
  std::vector<float> c, hidden, mean, rstd, a_sums;
};

Result run_kernel(int threads, const Problem& p) {
  Device device(threads);
  const Form& f = p.form;
  const auto stored = [&](const std::vector<float>& x, int64_t rows, int64_t columns, bool transposed) {
    return spread(transposed ? turned(x, rows, columns) : x, transposed ? rows : columns, f.padding);
  };
  const auto matrix = [&](int64_t rows, int64_t columns, bool transposed) {
    return transposed ? layout(GATUN_F32, {rows, columns}, {1, rows + f.padding}) : layout(GATUN_F32, {rows, columns}, {columns + f.padding, 1});
  };
  const auto vector = [](const std::vector<float>& v) { return layout(GATUN_F32, {static_cast<int64_t>(v.size())}); };
  const auto optional = [&](bool there, const std::vector<float>& v) { return there ? vector(v) : kAbsent; };
  const bool of_a = f.a_prologue == GATUN_MATMUL_LAYER_NORM, of_b = f.b_prologue == GATUN_MATMUL_LAYER_NORM, norm = of_a || of_b;
  const bool keeps = f.activation == GATUN_MATMUL_TO_GELU && f.hidden, reads = f.activation == GATUN_MATMUL_GELU_GRADIENT;
  const bool residual = f.residual || f.in_place;
  const std::vector<float> a = stored(p.a, p.m, p.k, f.transpose_a), b = stored(p.b, p.k, p.n, f.transpose_b);
  std::vector<float> c = spread(p.c, p.n, f.padding), hidden = spread(keeps ? std::vector<float>(p.c.size()) : p.hidden, p.n, f.padding);
  const std::vector<float> other = spread(p.residual, p.n, f.padding);
  std::vector<float> mean = of_a ? std::vector<float>(static_cast<size_t>(p.m), 7.0f) : p.mean, rstd = of_a ? mean : p.rstd, a_sums = p.a_sums;
  const gatun_matmul_desc desc{sizeof desc, f.a_prologue, f.b_prologue, f.activation, f.accumulate ? 1 : 0, 1e-6f, matrix(p.m, p.k, f.transpose_a),
                               matrix(p.k, p.n, f.transpose_b), matrix(p.m, p.n, false), optional(norm, mean), optional(norm, rstd),
                               optional(norm && f.affine, p.gamma), optional(norm && f.affine, p.beta), optional(f.scale_m, p.scale_m),
                               optional(f.scale_k, p.scale_k), optional(f.bias, p.bias), keeps || reads ? matrix(p.m, p.n, false) : kAbsent,
                               optional(f.factor_m, p.factor_m), optional(f.factor_n, p.factor_n), residual ? matrix(p.m, p.n, false) : kAbsent,
                               optional(f.sums, a_sums)};
  size_t bytes = 0;
  run([&](gatun_error* e) { return gatun_matmul_workspace(device.stream(), &desc, &bytes, e); });
  Workspace workspace(bytes);
  run([&](gatun_error* e) {
    return gatun_matmul(device.stream(), &desc, a.data(), b.data(), c.data(), norm ? mean.data() : nullptr, norm ? rstd.data() : nullptr,
                        norm && f.affine ? p.gamma.data() : nullptr, norm && f.affine ? p.beta.data() : nullptr,
                        f.scale_m ? p.scale_m.data() : nullptr, f.scale_k ? p.scale_k.data() : nullptr, f.bias ? p.bias.data() : nullptr,
                        keeps || reads ? hidden.data() : nullptr, f.factor_m ? p.factor_m.data() : nullptr,
                        f.factor_n ? p.factor_n.data() : nullptr, f.in_place ? c.data() : residual ? other.data() : nullptr,
                        f.sums ? a_sums.data() : nullptr, workspace.data(), bytes, e);
  });
  return {pack(c, p.n, f.padding), pack(hidden, p.n, f.padding), mean, rstd, a_sums};
}

void check_matmul(const Problem& p) {
  CAPTURE(p.m);
  CAPTURE(p.n);
  CAPTURE(p.k);
  CAPTURE(p.form.transpose_a);
  CAPTURE(p.form.transpose_b);
  const auto truth = p.reference<double>();
  const auto naive = p.reference<float>();
  const Result r = run_kernel(2, p);
  check_close(r.c, truth.c, naive.c);
  if (p.form.activation == GATUN_MATMUL_TO_GELU && p.form.hidden) check_close(r.hidden, truth.hidden, naive.hidden);
  if (p.form.a_prologue == GATUN_MATMUL_LAYER_NORM) {
    check_close(r.mean, truth.mean, naive.mean);
    check_close(r.rstd, truth.rstd, naive.rstd);
  }
  if (p.form.sums) check_close(r.a_sums, truth.a_sums, naive.a_sums);
}

struct Shape {
  int64_t m, n, k;
};
// Single elements, parts of tiles, whole ones, several blocks of K, tasks across, split sums over K, a B that is not resident, a wide one.
const std::vector<Shape> kShapes{{1, 1, 1}, {5, 7, 3}, {14, 32, 16}, {29, 33, 17}, {70, 100, 64}, {15, 190, 401}, {450, 20, 90}, {20, 48, 1300}, {33, 65, 2100}, {37, 520, 390}, {20, 800, 1100}, {17, 40, 6200}};

Form transposed(int code) {
  Form f;
  f.transpose_a = (code & 1) != 0;
  f.transpose_b = (code & 2) != 0;
  return f;
}

}  // namespace

TEST_CASE("matmul matches the double reference whatever shape, transposes and strides") {
  uint32_t seed = 1;
  for (const Shape& s : kShapes) {
    for (const int code : {0, 1, 2, 3}) {
      Form f = transposed(code);
      check_matmul({s.m, s.n, s.k, f, seed += 100});
      f.padding = 5;
      f.accumulate = true;
      check_matmul({s.m, s.n, s.k, f, seed += 100});
    }
  }
}

TEST_CASE("matmul normalises rows of a and keeps their statistics") {
  uint32_t seed = 10000;
  for (const Shape& s : kShapes) {
    Form f = transposed(s.m % 2 == 0 ? 2 : 0);
    f.a_prologue = GATUN_MATMUL_LAYER_NORM;
    f.affine = s.m % 5 != 0;
    f.padding = s.n % 3;
    check_matmul({s.m, s.n, s.k + 1, f, seed += 100});
  }
}

TEST_CASE("matmul with prologues of b and a: kept statistics, GELU, scales, and sums of a") {
  uint32_t seed = 20000;
  for (const Shape& s : kShapes) {
    for (const int code : {0, 1, 2, 3}) {
      Form f = transposed(code);
      f.padding = code;
      f.accumulate = code > 1;
      f.sums = true;
      f.scale_m = code != 1;
      f.scale_k = code != 2;
      f.scales = code == 3 ? 5 : 0;
      f.b_prologue = f.transpose_b ? GATUN_MATMUL_GELU : GATUN_MATMUL_LAYER_NORM;
      f.affine = code == 0;
      check_matmul({s.m, s.n, s.k, f, seed += 100});
      Form g = transposed(code);
      g.a_prologue = GATUN_MATMUL_GELU;
      g.b_prologue = code == 0 ? GATUN_MATMUL_GELU : GATUN_MATMUL_AS_IS;
      check_matmul({s.m, s.n, s.k, g, seed += 100});
    }
  }
}

TEST_CASE("matmul with every epilogue") {
  uint32_t seed = 30000;
  for (const Shape& s : kShapes) {
    for (const int code : {0, 1, 2, 3}) {
      Form f = transposed(code);
      f.padding = code;
      f.bias = true;
      f.activation = code % 2 == 0 ? GATUN_MATMUL_TO_GELU : GATUN_MATMUL_GELU_GRADIENT;
      f.hidden = code == 0;
      f.accumulate = code == 3;
      check_matmul({s.m, s.n, s.k, f, seed += 100});
      Form g = transposed(code);
      g.bias = code < 2;
      g.factor_m = code != 1;
      g.factor_n = code != 2;
      g.factors = code == 3 ? 5 : 0;
      g.residual = code % 2 == 0;
      g.in_place = code % 2 == 1;
      check_matmul({s.m, s.n, s.k, g, seed += 100});
    }
  }
}

// The last: normalised rows whose sum over K is split, so that several tasks want their statistics.
TEST_CASE("matmul gives the same bits for any number of threads") {
  uint32_t seed = 40000;
  for (const Shape& s : std::vector<Shape>{{300, 70, 50}, {70, 96, 2100}, {40, 700, 60}, {300, 600, 700}, {33, 65, 2100}, {33, 65, 6200}, {50, 600, 1100}}) {
    const bool weights = s.m == 70;
    Form f = transposed(weights ? 1 : 2);
    f.sums = weights;
    f.bias = true;
    f.activation = GATUN_MATMUL_TO_GELU;
    if (!weights) f.a_prologue = GATUN_MATMUL_LAYER_NORM;
    const Problem p(s.m, s.n, s.k, f, seed += 100);
    const Result one = run_kernel(1, p);
    for (const int threads : {2, 3, 5}) {
      const Result many = run_kernel(threads, p);
      CHECK(same_bits(one.c, many.c));
      CHECK(same_bits(one.mean, many.mean));
      CHECK(same_bits(one.a_sums, many.a_sums));
    }
  }
}

TEST_CASE("matmul of nothing, without depth, and of NaN") {
  Form f;
  f.bias = true;
  CHECK(run_kernel(2, {0, 4, 3, f, 1}).c.empty());
  CHECK(run_kernel(2, {4, 0, 3, f, 1}).c.empty());
  // A has statistics and sums whatever it is multiplied with.
  for (const int code : {0, 1}) {
    Form g = transposed(code);
    g.sums = true;
    g.accumulate = code == 1;
    check_matmul({37, 0, 1300, g, 5});
    g.scale_m = g.scale_k = true;
    check_matmul({37, 0, 1300, g, 6});
  }
  Form normalised;
  normalised.a_prologue = GATUN_MATMUL_LAYER_NORM;
  check_matmul({37, 0, 45, normalised, 7});
  // as layer_norm's of no columns
  const Result none = run_kernel(2, {37, 45, 0, normalised, 8});
  for (const std::vector<float>* values : {&none.mean, &none.rstd}) {
    CHECK(std::all_of(values->begin(), values->end(), [](float x) { return std::isnan(x); }));
  }
  CHECK(std::all_of(none.c.begin(), none.c.end(), [](float x) { return std::isfinite(x); }));
  const Problem flat(3, 4, 0, f, 2);
  const Result r = run_kernel(2, flat);
  for (size_t i = 0; i < r.c.size(); ++i) CHECK(r.c[i] == flat.bias[i % 4]);
  for (const int64_t k : {24, 1500}) {
    for (const int code : {0, 1, 2, 3}) {
      Form g = transposed(code);
      g.activation = GATUN_MATMUL_TO_GELU;
      Problem bad(40, 16, k, g, 3);
      bad.a[static_cast<size_t>(30 * k + 5)] = std::numeric_limits<float>::quiet_NaN();
      const Result n = run_kernel(2, bad);
      for (size_t i = 0; i < n.c.size(); ++i) CHECK(std::isnan(n.c[i]) == (i / 16 == 30));
    }
  }
  // What c held is not read unless it is added to.
  Problem stale(5, 6, 7, Form{}, 4);
  std::fill(stale.c.begin(), stale.c.end(), std::numeric_limits<float>::quiet_NaN());
  for (const float value : run_kernel(1, stale).c) CHECK(std::isfinite(value));
}

TEST_CASE("matmul refuses bad descriptors with a message that names the operand") {
  Device device;
  std::vector<float> b(256);
  gatun_matmul_desc good{};
  good.struct_size = sizeof good;
  good.a = layout(GATUN_F32, {4, 3});
  good.b = layout(GATUN_F32, {3, 5});
  good.c = layout(GATUN_F32, {4, 5});
  const auto attempt = [&](const gatun_matmul_desc& desc, const char* part) {
    size_t bytes = 0;
    refused(part, [&](gatun_error* e) { return gatun_matmul_workspace(device.stream(), &desc, &bytes, e); });
  };
  gatun_matmul_desc d = good;
  d.b = layout(GATUN_F32, {4, 5});
  attempt(d, "b has shape (4, 5), expected (3, 5)");
  d = good;
  d.a = layout(GATUN_F32, {4, 3}, {8, 2});
  attempt(d, "a has neither");
  d = good;
  d.a = layout(GATUN_F32, {4, 3}, {1, 4});
  d.a_prologue = GATUN_MATMUL_LAYER_NORM;
  d.epsilon = 1;
  attempt(d, "LAYER_NORM needs rows");
  d.b_prologue = GATUN_MATMUL_LAYER_NORM;
  d.a = good.a;
  attempt(d, "LAYER_NORM is asked for a and for b");
  d.b_prologue = 0;
  attempt(d, "mean");
  d.epsilon = 0;
  attempt(d, "epsilon is 0");
  d = good;
  d.gamma = layout(GATUN_F32, {3});
  attempt(d, "which neither a nor b has");
  d = good;
  d.scale_m = layout(GATUN_F32, {3});
  attempt(d, "scale_m has 3 elements, which do not divide 4");
  d.scale_m = layout(GATUN_F32, {2});
  d.a_prologue = GATUN_MATMUL_GELU;
  attempt(d, "a has scales and a prologue");
  d = good;
  d.hidden = good.c;
  attempt(d, "hidden is there without an activation");
  d.hidden = kAbsent;
  d.activation = GATUN_MATMUL_GELU_GRADIENT;
  attempt(d, "hidden");
  d.activation = 9;
  attempt(d, "activation is 9");
  d = good;
  d.accumulate = 2;
  attempt(d, "accumulate is 2");
  d.accumulate = 1;
  d.residual = good.c;
  std::vector<float> work(1 << 16);
  refused("residual is c", [&](gatun_error* e) {
    return gatun_matmul(device.stream(), &d, b.data(), b.data(), b.data(), nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr,
                        nullptr, nullptr, b.data(), nullptr, work.data(), work.size(), e);
  });
  refused("the workspace has 0 bytes", [&](gatun_error* e) {
    return gatun_matmul(device.stream(), &good, b.data(), b.data(), b.data(), nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr,
                        nullptr, nullptr, nullptr, nullptr, nullptr, 0, e);
  });
}
