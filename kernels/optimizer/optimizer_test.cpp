// SPDX-License-Identifier: Apache-2.0
#include "kernels/optimizer/optimizer_reference.h"

#include "kernels/testing/memory.h"
#include "kernels/testing/testing.h"

using namespace gatun;
using namespace gatun::testing;

namespace {

enum class Rule { kAdamw, kSgd, kNesterov, kLars, kLarc };
const Rule kRules[] = {Rule::kAdamw, Rule::kSgd, Rule::kNesterov, Rule::kLars, Rule::kLarc};

constexpr float kBeta1 = 0.9f, kBeta2 = 0.99f, kEpsilon = 1e-6f, kDecay = 0.03f, kMomentum = 0.9f, kTrust = 0.02f;
constexpr gatun_layout kNone{};

// A model: sizes of tensors, the per-tensor numbers, and one value, gradient and state buffer each.
struct Model {
  std::vector<int64_t> offsets{0};
  std::vector<float> rate_scale, decay_scale;
  std::vector<uint8_t> adapt;
  std::vector<float> values, first, second;
  std::vector<std::vector<float>> gradients;  // one a step
  bool plain = false;                         // leave the optional operands out

  Model(const std::vector<int64_t>& sizes, uint32_t seed, int steps = 3) {
    for (size_t t = 0; t < sizes.size(); ++t) {
      offsets.push_back(offsets.back() + sizes[t]);
      rate_scale.push_back(t % 3 == 1 ? 0.5f : 1.0f);
      decay_scale.push_back(t % 2 == 1 ? 0.0f : 1.0f);
      adapt.push_back(t % 2 == 1 ? 0 : 1);
    }
    values = normal(offsets.back(), seed);
    first.resize(values.size());
    second.resize(values.size());
    for (int s = 0; s < steps; ++s) gradients.push_back(normal(offsets.back(), seed + 100 + static_cast<uint32_t>(s), 0.3f));
  }
  int64_t tensors() const { return static_cast<int64_t>(offsets.size()) - 1; }
};

// A workspace for the length of a call.
struct Workspace {
  Device& device;
  size_t bytes;
  void* memory = nullptr;
  Workspace(Device& device, size_t bytes) : device(device), bytes(bytes) {
    require_ok([&](gatun_error* e) { return gatun_memory_allocate(device.context(), bytes, &memory, e); });
  }
  ~Workspace() { gatun_memory_free(device.context(), memory, nullptr); }
};

void step(Device& device, Rule rule, Model& model, int64_t step_number, float learning_rate, float gradient_scale, int32_t skip_flag = 0) {
  const gatun_layout flat = layout(GATUN_F32, {static_cast<int64_t>(model.values.size())});
  const gatun_layout table = layout(GATUN_I64, {model.tensors() + 1});
  const gatun_layout each = model.plain ? kNone : layout(GATUN_F32, {model.tensors()});
  const gatun_layout flags = model.plain ? kNone : layout(GATUN_U8, {model.tensors()});
  const gatun_layout one = layout(GATUN_F32, {1}), optional = model.plain ? kNone : one;
  const gatun_layout guard = model.plain ? kNone : layout(GATUN_I32, {1});
  const size_t at = static_cast<size_t>(std::clamp<int64_t>(step_number - 1, 0, static_cast<int64_t>(model.gradients.size()) - 1));
  Memory<float> values(model.values), first(model.first), second(model.second);
  const Memory<float> gradients(model.gradients[at]), rate_scale(model.rate_scale), decay_scale(model.decay_scale);
  const Memory<float> rate(1, learning_rate), scale(1, gradient_scale);
  const Memory<int64_t> offsets(model.offsets), number(1, step_number);
  const Memory<uint8_t> adapt(model.adapt);
  const Memory<int32_t> skip(1, skip_flag);
  const auto given = [&](const void* pointer) { return model.plain ? nullptr : pointer; };
  if (rule == Rule::kAdamw) {
    const gatun_optimizer_adamw_desc desc{sizeof desc, 0,    kBeta1, kBeta2, kEpsilon, kDecay,   flat, flat, flat, flat, table,
                                          each,        each, one,    layout(GATUN_I64, {1}), optional, guard};
    run([&](gatun_error* e) {
      return gatun_optimizer_adamw(device.stream(), &desc, values.data(), gradients.data(), first.data(), second.data(), offsets.data(),
                                   given(rate_scale.data()), given(decay_scale.data()), rate.data(), number.data(), given(scale.data()),
                                   given(skip.data()), e);
    });
  } else if (rule == Rule::kSgd || rule == Rule::kNesterov) {
    const gatun_optimizer_sgd_desc desc{sizeof desc, rule == Rule::kNesterov, kMomentum, kDecay, flat, flat, flat, table,
                                        each,        each,                    one,       optional, guard};
    run([&](gatun_error* e) {
      return gatun_optimizer_sgd(device.stream(), &desc, values.data(), gradients.data(), first.data(), offsets.data(),
                                 given(rate_scale.data()), given(decay_scale.data()), rate.data(), given(scale.data()), given(skip.data()), e);
    });
  } else {
    const gatun_optimizer_lars_desc desc{sizeof desc, kMomentum, kDecay, kTrust, flat,     flat, flat,
                                         table,       each,      each,   flags,  one, optional, guard};
    size_t bytes = 0;
    run([&](gatun_error* e) { return gatun_optimizer_lars_workspace(&desc, &bytes, e); });
    Workspace workspace(device, bytes);
    run([&](gatun_error* e) {
      const auto update = rule == Rule::kLars ? gatun_optimizer_lars : gatun_optimizer_larc;
      return update(device.stream(), &desc, values.data(), gradients.data(), first.data(), offsets.data(), given(rate_scale.data()),
                    given(decay_scale.data()), given(adapt.data()), rate.data(), given(scale.data()), given(skip.data()), workspace.memory,
                    bytes, e);
    });
    (void)values.values();  // done, before the workspace is freed
  }
  model.values = values.values();
  model.first = first.values();
  model.second = second.values();
}

template <class T>
struct State {
  std::vector<T> values, first, second;
};

template <class T>
State<T> reference(Rule rule, const Model& model, int steps, float rate, float scale) {
  State<T> s{{model.values.begin(), model.values.end()}, {model.first.begin(), model.first.end()}, {model.second.begin(), model.second.end()}};
  for (int number = 1; number <= steps; ++number) {
    const std::vector<float>& source = model.gradients[static_cast<size_t>(number - 1)];
    const std::vector<T> g(source.begin(), source.end());
    for (int64_t t = 0; t < model.tensors(); ++t) {
      const size_t at = static_cast<size_t>(t);
      const int64_t o = model.offsets[at], n = model.offsets[at + 1] - o;
      const T lr = T(rate) * (model.plain ? 1 : model.rate_scale[at]);
      const T wd = T(kDecay) * (model.plain ? 1 : model.decay_scale[at]);
      const T gs = model.plain ? 1 : scale;
      const bool adapt = model.plain || model.adapt[at] != 0;
      T *p = s.values.data() + o, *m = s.first.data() + o, *v = s.second.data() + o;
      switch (rule) {
        case Rule::kAdamw: adamw_reference<T>(p, g.data() + o, m, v, n, number, lr, kBeta1, kBeta2, kEpsilon, wd, gs); break;
        case Rule::kLars: lars_reference<T>(p, g.data() + o, m, n, lr, kMomentum, wd, kTrust, gs, adapt); break;
        case Rule::kLarc: larc_reference<T>(p, g.data() + o, m, n, lr, kMomentum, wd, kTrust, gs, adapt); break;
        default: sgd_reference<T>(p, g.data() + o, m, n, lr, kMomentum, wd, 1, gs, rule == Rule::kNesterov);
      }
    }
  }
  return s;
}

// Empty tensors, a tensor over several chunks, tensors that share a chunk, odd sizes.
const std::vector<int64_t> kSizes{0, 5, 17000, 1, 0, 0, 333, 17, 64, 0};

}  // namespace

TEST_CASE("optimizer updates match the double reference over several steps") {
  Device device;
  for (const Rule rule : kRules) {
    for (const bool plain : {false, true}) {
      CAPTURE(static_cast<int>(rule));
      CAPTURE(plain);
      Model model(kSizes, 11);
      model.plain = plain;
      const State<double> truth = reference<double>(rule, model, 3, 0.05f, 0.7f);
      const State<float> naive = reference<float>(rule, model, 3, 0.05f, 0.7f);
      for (int64_t number = 1; number <= 3; ++number) step(device, rule, model, number, 0.05f, 0.7f);
      check_close(model.values, truth.values, naive.values);
      check_close(model.first, truth.first, naive.first);
      if (rule == Rule::kAdamw) check_close(model.second, truth.second, naive.second);
    }
  }
}

TEST_CASE("optimizer updates give the same bits for any number of threads") {
  for (const Rule rule : kRules) {
    CAPTURE(static_cast<int>(rule));
    std::vector<Model> models;
    for (const int threads : {1, 2, 3}) {
      Device device(threads);
      models.emplace_back(kSizes, 12);
      for (int64_t number = 1; number <= 2; ++number) step(device, rule, models.back(), number, 0.1f, 1.0f);
    }
    for (size_t i = 1; i < 3; ++i) {
      CHECK(same_bits(models[0].values, models[i].values));
      CHECK(same_bits(models[0].first, models[i].first));
      CHECK(same_bits(models[0].second, models[i].second));
    }
  }
}

TEST_CASE("optimizer updates do not depend on where a tensor lies in the buffer") {
  Device device;
  for (const Rule rule : kRules) {
    Model alone({20000}, 13, 1);
    alone.decay_scale = {1.0f};
    alone.adapt = {1};
    Model shifted({7, 2, 20000}, 14, 1);
    std::copy(alone.values.begin(), alone.values.end(), shifted.values.begin() + 9);
    std::copy(alone.gradients[0].begin(), alone.gradients[0].end(), shifted.gradients[0].begin() + 9);
    step(device, rule, alone, 1, 0.1f, 1.0f);
    step(device, rule, shifted, 1, 0.1f, 1.0f);
    CHECK(same_bits(alone.values, {shifted.values.begin() + 9, shifted.values.end()}));
  }
}

TEST_CASE("optimizer skips an update when the flag is set, and padding of zeros stays zero") {
  Device device;
  for (const Rule rule : kRules) {
    CAPTURE(static_cast<int>(rule));
    Model model({50, 14}, 15);
    for (size_t i = 60; i < 64; ++i) {
      model.values[i] = 0;
      for (std::vector<float>& gradient : model.gradients) gradient[i] = 0;
    }
    step(device, rule, model, 1, 0.1f, 1.0f);
    const Model before = model;
    model.gradients[1][3] = std::numeric_limits<float>::quiet_NaN();
    step(device, rule, model, 2, 0.1f, 1.0f, 1);
    CHECK(same_bits(model.values, before.values));
    CHECK(same_bits(model.first, before.first));
    CHECK(same_bits(model.second, before.second));
    step(device, rule, model, 3, 0.1f, 1.0f);
    CHECK_FALSE(same_bits(model.values, before.values));
    for (size_t i = 60; i < 64; ++i) CHECK(model.values[i] == 0.0f);
  }
}

TEST_CASE("optimizer closed forms: the first AdamW step is the sign, LARS moves by trust, zero norms are left alone") {
  Device device;
  Model adam({100}, 16, 1);
  adam.plain = true;
  const std::vector<float> start = adam.values;
  step(device, Rule::kAdamw, adam, 1, 0.25f, 1.0f);
  for (size_t i = 0; i < 100; ++i) {
    const double expected = start[i] * (1 - 0.25 * kDecay) - 0.25 * (adam.gradients[0][i] > 0 ? 1 : -1);
    CHECK(adam.values[i] == doctest::Approx(expected).epsilon(1e-2));
  }
  // ‖Δp‖ = lr · trust · ‖p‖ whatever the gradient's length
  for (const float length : {1e-3f, 1.0f, 1e3f}) {
    Model lars({300}, 17, 1);
    for (float& g : lars.gradients[0]) g *= length;
    const std::vector<double> before = widen(lars.values);
    step(device, Rule::kLars, lars, 1, 0.5f, 1.0f);
    const std::vector<double> after = widen(lars.values);
    const double moved = norm_reference<double>(after.data(), 1, before.data(), -1, 300);
    CHECK(moved == doctest::Approx(0.5 * kTrust * norm_reference<double>(before.data(), 1, before.data(), 0, 300)).epsilon(1e-4));
  }
  Model still({40}, 18, 1);
  std::fill(still.gradients[0].begin(), still.gradients[0].end(), 0.0f);
  const std::vector<float> values = still.values;
  step(device, Rule::kLarc, still, 1, 0.5f, 1.0f);
  CHECK(same_bits(still.values, values));
  // A gradient so short that LARC's 1e-8 is half of the denominator: p - lr * g * trust * |p| / (|g| + 1e-8)
  Model tiny({2}, 18, 1);
  tiny.values = {3.0f, 4.0f};
  tiny.decay_scale = {0.0f};
  tiny.gradients[0] = {1e-8f, 0.0f};
  step(device, Rule::kLarc, tiny, 1, 16.0f, 1.0f);
  CHECK(tiny.values[0] == doctest::Approx(3 - 16 * kTrust * 5 / 2).epsilon(1e-6));
  CHECK(tiny.values[1] == 4.0f);
  Model zero({40}, 19, 1);
  std::fill(zero.values.begin(), zero.values.end(), 0.0f);
  step(device, Rule::kLars, zero, 1, 0.5f, 1.0f);
  for (size_t i = 0; i < 40; ++i) CHECK(zero.values[i] == -0.5f * zero.gradients[0][i]);
}

#if defined(GATUN_CUDA)
TEST_CASE("optimizer values are NaN after wrong offsets or a wrong step, and nothing else is touched") {
  Device device;
  for (const Rule rule : kRules) {
    CAPTURE(static_cast<int>(rule));
    for (const std::vector<int64_t>& offsets : std::vector<std::vector<int64_t>>{
             {0, 20000, 90000}, {0, 900, 800}, {0, 5, 799}, {1, 5, 800}, {0, -1, 800}}) {
      if (rule != Rule::kLars && offsets[1] != 20000) continue;
      Model model({400, 400}, 23, 1);
      model.offsets = offsets;
      step(device, rule, model, 1, 0.1f, 1.0f);
      CHECK(std::all_of(model.values.begin(), model.values.end(), [](float value) { return std::isnan(value); }));
      if (offsets[1] != 20000) continue;
      Model skipped({400, 400}, 23, 1);
      const std::vector<float> before = skipped.values;
      skipped.offsets = offsets;
      step(device, rule, skipped, 1, 0.1f, 1.0f, 1);
      CHECK(same_bits(skipped.values, before));
    }
  }
  Model model({40}, 24, 1);
  step(device, Rule::kAdamw, model, 0, 0.1f, 1.0f);
  for (const float value : model.values) CHECK(std::isnan(value));
}
#endif

TEST_CASE("optimizer ema averages, copies at momentum 0 and holds at 1") {
  const int64_t n = 40003;
  const std::vector<float> values = normal(n, 20), start = normal(n, 21);
  const auto average = [&](int threads, float momentum, int32_t skip, int64_t shift = 0) {
    Device device(threads);
    const auto shifted = [&](std::vector<float> values) {  // by an element, where vectors do not fit
      values.insert(values.begin(), static_cast<size_t>(shift), 7.0f);
      return values;
    };
    Memory<float> result(shifted(start));
    const Memory<float> values_memory(shifted(values)), momentum_memory(1, momentum);
    const Memory<int32_t> skip_memory(1, skip);
    const gatun_layout flat = layout(GATUN_F32, {n});
    const gatun_optimizer_ema_desc desc{sizeof desc, 0, flat, flat, layout(GATUN_F32, {1}), layout(GATUN_I32, {1})};
    run([&](gatun_error* e) {
      return gatun_optimizer_ema(device.stream(), &desc, result.data() + shift, values_memory.data() + shift, momentum_memory.data(),
                                 skip_memory.data(), e);
    });
    const std::vector<float> all = result.values();
    return std::vector<float>(all.begin() + shift, all.end());
  };
  std::vector<double> truth = widen(start);
  std::vector<float> naive = start;
  ema_reference<double>(truth.data(), widen(values).data(), n, 0.99f);
  ema_reference<float>(naive.data(), values.data(), n, 0.99f);
  const std::vector<float> result = average(2, 0.99f, 0);
  check_close(result, truth, naive);
  CHECK(same_bits(result, average(1, 0.99f, 0)));
  CHECK(same_bits(result, average(2, 0.99f, 0, 1)));
  CHECK(same_bits(result, average(3, 0.99f, 0)));
  CHECK(same_bits(average(2, 0.0f, 0), values));
  CHECK(same_bits(average(2, 1.0f, 0), start));
  CHECK(same_bits(average(2, 0.0f, 7), start));
}

TEST_CASE("optimizer advance counts updates that are not skipped") {
  Device device(1);
  Memory<int64_t> step(1, int64_t{1} << 40);
  const auto advance = [&](const gatun_layout& flag, const int32_t* skip) {
    const gatun_optimizer_advance_desc desc{sizeof desc, 0, layout(GATUN_I64, {1}), flag};
    run([&](gatun_error* e) { return gatun_optimizer_advance(device.stream(), &desc, step.data(), skip, e); });
    return step.values()[0] - (int64_t{1} << 40);
  };
  const Memory<int32_t> go(1, 0), stop(1, 1);
  CHECK(advance(gatun_layout{}, nullptr) == 1);
  CHECK(advance(layout(GATUN_I32, {1}), go.data()) == 2);
  CHECK(advance(layout(GATUN_I32, {1}), stop.data()) == 2);
}

TEST_CASE("optimizer gradient_norm measures, clips and flags what is not finite") {
  struct Result {
    float norm, scale;
    int32_t skip;
  };
  const auto measure = [](int threads, const std::vector<float>& gradients, float limit) {
    Device device(threads);
    const Memory<float> memory(gradients);
    Memory<float> norm(1, -1.0f), scale(1, -1.0f);
    Memory<int32_t> skip(1, 0);
    const gatun_optimizer_gradient_norm_desc desc{sizeof desc, limit, layout(GATUN_F32, {static_cast<int64_t>(gradients.size())}),
                                                  layout(GATUN_F32, {1}), layout(GATUN_F32, {1}), layout(GATUN_I32, {1})};
    size_t bytes = 0;
    run([&](gatun_error* e) { return gatun_optimizer_gradient_norm_workspace(&desc, &bytes, e); });
    Workspace workspace(device, bytes);
    run([&](gatun_error* e) {
      return gatun_optimizer_gradient_norm(device.stream(), &desc, memory.data(), norm.data(), scale.data(), skip.data(), workspace.memory,
                                           bytes, e);
    });
    return Result{norm.values()[0], scale.values()[0], skip.values()[0]};
  };
  std::vector<float> gradients = normal(50001, 22);
  const std::vector<double> wide = widen(gradients);
  const double truth = norm_reference<double>(wide.data(), 1, wide.data(), 0, 50001);
  const float naive = norm_reference<float>(gradients.data(), 1, gradients.data(), 0, 50001);
  const Result two = measure(2, gradients, 3.0f);
  check_close({two.norm}, {truth}, {naive});
  CHECK(two.scale == 3.0f / two.norm);
  CHECK(two.skip == 0);
  CHECK(measure(1, gradients, 3.0f).norm == two.norm);
  CHECK(measure(3, gradients, 3.0f).norm == two.norm);
  CHECK(measure(2, gradients, 1e9f).scale == 1.0f);
  CHECK(measure(2, {}, 1.0f).norm == 0.0f);
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    gradients[40000] = bad;
    CHECK(measure(2, gradients, 3.0f).skip == 1);
  }
}

TEST_CASE("optimizer refuses what would read or write outside a buffer, naming the operand") {
  Device device;
  std::vector<float> buffer(64);
  const float rate = 0.1f;
  const gatun_layout flat = layout(GATUN_F32, {8}), one = layout(GATUN_F32, {1});
  const gatun_optimizer_sgd_desc good{sizeof good, 0, 0.9f, 0, flat, flat, flat, layout(GATUN_I64, {3}), kNone, kNone, one, kNone, kNone};
  const auto attempt = [&](const gatun_optimizer_sgd_desc& desc, std::vector<int64_t> offsets, const char* part) {
    refused(part, [&](gatun_error* e) {
      return gatun_optimizer_sgd(device.stream(), &desc, buffer.data(), buffer.data() + 8, buffer.data() + 16, offsets.data(), nullptr,
                                 nullptr, &rate, nullptr, nullptr, e);
    });
  };
#if !defined(GATUN_CUDA)
  attempt(good, {0, 9, 8}, "offsets[1] is 9");
  attempt(good, {0, 5, 7}, "offsets[2] is 7");
  attempt(good, {1, 5, 8}, "offsets[0] is 1");
  attempt(good, {0, -1, 8}, "offsets[1] is -1");
#endif
  gatun_optimizer_sgd_desc bad = good;
  bad.offsets = layout(GATUN_I64, {1});
  attempt(bad, {0}, "offsets has no tensors, values has 8 elements");
  bad = good;
  bad.momentum = 1.0f;
  attempt(bad, {0, 4, 8}, "momentum is 1");
  bad = good;
  bad.weight_decay = std::numeric_limits<float>::quiet_NaN();
  attempt(bad, {0, 4, 8}, "weight_decay is nan");
  bad = good;
  bad.gradients = layout(GATUN_F32, {7});
  attempt(bad, {0, 4, 8}, "gradients has shape (7), expected (8)");
  bad = good;
  bad.rate_scale = layout(GATUN_F32, {2});
  attempt(bad, {0, 4, 8}, "rate_scale is NULL");
  bad = good;
  bad.learning_rate = kNone;
  attempt(bad, {0, 4, 8}, "learning_rate is none, expected f32");

  const int64_t offsets[] = {0, 4, 8}, zero = 0;
  const gatun_optimizer_adamw_desc adamw{sizeof adamw, 0, 0.9f, 0.99f, 1e-8f, 0, flat, flat, flat, flat, layout(GATUN_I64, {3}),
                                         kNone, kNone, one, layout(GATUN_I64, {1}), kNone, kNone};
#if defined(GATUN_CUDA)
  (void)zero, (void)adamw;
#else
  refused("step is 0", [&](gatun_error* e) {
    return gatun_optimizer_adamw(device.stream(), &adamw, buffer.data(), buffer.data() + 8, buffer.data() + 16, buffer.data() + 24,
                                 offsets, nullptr, nullptr, &rate, &zero, nullptr, nullptr, e);
  });
#endif
  const gatun_optimizer_lars_desc lars{sizeof lars, 0.9f, 0, 0.001f, flat, flat, flat, layout(GATUN_I64, {3}), kNone, kNone,
                                       kNone, one, kNone, kNone};
  refused("the workspace has 8 bytes", [&](gatun_error* e) {
    return gatun_optimizer_lars(device.stream(), &lars, buffer.data(), buffer.data() + 8, buffer.data() + 16, offsets, nullptr, nullptr,
                                nullptr, &rate, nullptr, nullptr, buffer.data() + 32, 8, e);
  });
}
