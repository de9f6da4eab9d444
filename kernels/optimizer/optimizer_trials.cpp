// SPDX-License-Identifier: Apache-2.0
#include "kernels/optimizer/optimizer_reference.h"
#include "kernels/trial/bench.h"
#include "kernels/trial/selftest.h"

namespace gatun::trial {
namespace {

enum class Rule { kAdamw, kSgd, kNesterov, kLars, kLarc };
struct Named {
  Rule rule;
  const char* name;
  double bytes, flops;  // an element; the norms of LARS and LARC read values and gradients before the update does
};
const Named kRules[] = {{Rule::kAdamw, "adamw", 28, 16}, {Rule::kSgd, "sgd", 20, 7}, {Rule::kNesterov, "nesterov", 20, 9},
                        {Rule::kLars, "lars", 28, 13}, {Rule::kLarc, "larc", 28, 12}};
constexpr float kBeta1 = 0.9f, kBeta2 = 0.99f, kEpsilon = 1e-6f, kDecay = 0.03f, kMomentum = 0.9f, kTrust = 0.02f, kScale = 0.7f, kRate = 0.05f;
constexpr int64_t kStep = 7;

// The buffers of a model on the device, i of each.
struct Model {
  Rotating<float> &values, &gradients, &first, &second;
  int64_t elements, tensors;
  Rotating<int64_t> offsets, step;
  Rotating<float> rate, scale;
};

gatun_optimizer_lars_desc lars_desc(int64_t elements, int64_t tensors) {
  const gatun_layout flat = layout(GATUN_F32, {elements}), one = layout(GATUN_F32, {1});
  return {sizeof(gatun_optimizer_lars_desc), kMomentum, kDecay, kTrust, flat, flat, flat, layout(GATUN_I64, {tensors + 1}), {}, {}, {}, one, one, {}};
}

size_t lars_bytes(int64_t elements, int64_t tensors) {
  const auto desc = lars_desc(elements, tensors);
  size_t bytes = 0;
  call([&](gatun_error* e) { return gatun_optimizer_lars_workspace(&desc, &bytes, e); });
  return bytes;
}

gatun_status update(gatun_stream* stream, Rule rule, Model& m, Rotating<uint8_t>& workspace, size_t bytes, int i, gatun_error* e) {
  const gatun_layout flat = layout(GATUN_F32, {m.elements}), one = layout(GATUN_F32, {1}), table = layout(GATUN_I64, {m.tensors + 1});
  if (rule == Rule::kAdamw) {
    const gatun_optimizer_adamw_desc desc{sizeof desc, 0, kBeta1, kBeta2, kEpsilon, kDecay, flat, flat, flat, flat, table,
                                          {}, {}, one, layout(GATUN_I64, {1}), one, {}};
    return gatun_optimizer_adamw(stream, &desc, m.values[i], m.gradients[i], m.first[i], m.second[i], m.offsets[i], nullptr, nullptr,
                                 m.rate[i], m.step[i], m.scale[i], nullptr, e);
  }
  if (rule == Rule::kSgd || rule == Rule::kNesterov) {
    const gatun_optimizer_sgd_desc desc{sizeof desc, rule == Rule::kNesterov, kMomentum, kDecay, flat, flat, flat, table, {}, {}, one, one, {}};
    return gatun_optimizer_sgd(stream, &desc, m.values[i], m.gradients[i], m.first[i], m.offsets[i], nullptr, nullptr, m.rate[i],
                               m.scale[i], nullptr, e);
  }
  const auto desc = lars_desc(m.elements, m.tensors);
  return (rule == Rule::kLars ? gatun_optimizer_lars : gatun_optimizer_larc)(stream, &desc, m.values[i], m.gradients[i], m.first[i],
                                                                            m.offsets[i], nullptr, nullptr, nullptr, m.rate[i], m.scale[i],
                                                                            nullptr, workspace[i], bytes, e);
}

template <class T>
struct State {
  std::vector<T> values, first, second;
  State(Rule rule, const std::vector<int64_t>& offsets, const std::vector<float>& p, const std::vector<float>& gradients,
        const std::vector<float>& m, const std::vector<float>& v)
      : values(p.begin(), p.end()), first(m.begin(), m.end()), second(v.begin(), v.end()) {
    const std::vector<T> g(gradients.begin(), gradients.end());
    for (size_t t = 0; t + 1 < offsets.size(); ++t) {
      const int64_t at = offsets[t], n = offsets[t + 1] - at;
      T *a = values.data() + at, *b = first.data() + at, *c = second.data() + at;
      switch (rule) {
        case Rule::kAdamw: adamw_reference<T>(a, g.data() + at, b, c, n, kStep, kRate, kBeta1, kBeta2, kEpsilon, kDecay, kScale); break;
        case Rule::kLars: lars_reference<T>(a, g.data() + at, b, n, kRate, kMomentum, kDecay, kTrust, kScale, true); break;
        case Rule::kLarc: larc_reference<T>(a, g.data() + at, b, n, kRate, kMomentum, kDecay, kTrust, kScale, true); break;
        default: sgd_reference<T>(a, g.data() + at, b, n, kRate, kMomentum, kDecay, 1, kScale, rule == Rule::kNesterov);
      }
    }
  }
};

void selftest(Selftest& s) {
  Run run(s.device(), 1, 0);
  for (int round = 0; round < s.rounds(); ++round) {
    std::vector<int64_t> offsets{0};
    for (int64_t t = s.extent(1, 40); t > 0; --t) offsets.push_back(offsets.back() + (s.chance(0.1) ? 0 : s.extent(1, t % 4 == 0 ? 60000 : 300)));
    const int64_t n = offsets.back(), tensors = static_cast<int64_t>(offsets.size()) - 1;
    const std::vector<float> p = s.normal(n), g = s.normal(n, 0.3f), m = s.normal(n, 0.1f);
    std::vector<float> v = s.normal(n, 0.1f);
    for (float& value : v) value *= value;
    const size_t bytes = lars_bytes(n, tensors);
    for (const Named& rule : kRules) {
      Rotating<float> values = run.filled(p), gradients = run.filled(g), first = run.filled(m), second = run.filled(v);
      Rotating<uint8_t> workspace = run.empty<uint8_t>(static_cast<int64_t>(bytes));
      Model model{values, gradients, first, second, n, tensors, run.filled(offsets), run.filled(std::vector<int64_t>{kStep}),
                  run.filled(std::vector<float>{kRate}), run.filled(std::vector<float>{kScale})};
      call([&](gatun_error* e) { return update(s.stream(), rule.rule, model, workspace, bytes, 0, e); });
      const State<double> truth(rule.rule, offsets, p, g, m, v);
      const State<float> naive(rule.rule, offsets, p, g, m, v);
      s.check(rule.name, "f32", {n, tensors}, values.copies_[0].values(), truth.values, naive.values);
      s.check(std::string(rule.name) + " first", "f32", {n, tensors}, first.copies_[0].values(), truth.first, naive.first);
      if (rule.rule == Rule::kAdamw) s.check("adamw second", "f32", {n, tensors}, second.copies_[0].values(), truth.second, naive.second);
    }
    std::vector<double> truth(p.begin(), p.end());
    std::vector<float> naive = p;
    ema_reference<double>(truth.data(), std::vector<double>(g.begin(), g.end()).data(), n, kMomentum);
    ema_reference<float>(naive.data(), g.data(), n, kMomentum);
    const gatun_layout flat = layout(GATUN_F32, {n});
    const gatun_optimizer_ema_desc ema{sizeof ema, 0, flat, flat, layout(GATUN_F32, {1}), {}};
    Buffer<float> average(s.device(), p), values(s.device(), g), momentum(s.device(), std::vector<float>{kMomentum});
    call([&](gatun_error* e) { return gatun_optimizer_ema(s.stream(), &ema, average.data(), values.data(), momentum.data(), nullptr, e); });
    s.check("ema", "f32", {n}, average.values(), truth, naive);
  }
}

void bench(Bench& b) {
  struct Shape { int64_t elements, tensors; };
  // The parameters of ResNet-50 and ViT-B/16; tensors of one size stand for them.
  const std::vector<Shape> shapes = b.emulated() ? std::vector<Shape>{{6000, 7}} : std::vector<Shape>{{25557032, 161}, {85798656, 152}};
  for (const auto [elements, tensors] : shapes) {
    const double n = static_cast<double>(elements);
    std::vector<int64_t> offsets;
    for (int64_t t = 0; t <= tensors; ++t) offsets.push_back(elements * t / tensors);
    for (const Named& rule : kRules) {
      b.row(rule.name, "f32", {elements, tensors}, {.flops = rule.flops * n, .bytes = rule.bytes * n}, [&, elements, tensors](Run& run) {
        Rotating<float> values = run.normal<float>(elements), gradients = run.normal<float>(elements, 0.01f), first = run.normal<float>(elements, 0.01f);
        Rotating<float> second = run.filled(std::vector<float>(rule.rule == Rule::kAdamw ? static_cast<size_t>(elements) : 0, 1e-4f));
        const size_t bytes = lars_bytes(elements, tensors);
        Rotating<uint8_t> workspace = run.empty<uint8_t>(static_cast<int64_t>(bytes));
        Model model{values, gradients, first, second, elements, tensors, run.filled(offsets), run.filled(std::vector<int64_t>{1000}),
                    run.filled(std::vector<float>{1e-6f}), run.filled(std::vector<float>{1.0f})};
        run.time([&](int i, gatun_error* e) { return update(run.stream(), rule.rule, model, workspace, bytes, i, e); });
      });
    }
    b.row("ema", "f32", {elements}, {.flops = 3 * n, .bytes = 12 * n}, [&, elements](Run& run) {
      const gatun_layout flat = layout(GATUN_F32, {elements});
      const gatun_optimizer_ema_desc desc{sizeof desc, 0, flat, flat, layout(GATUN_F32, {1}), {}};
      Rotating<float> average = run.normal<float>(elements), values = run.normal<float>(elements), momentum = run.filled(std::vector<float>{0.996f});
      run.time([&](int i, gatun_error* e) { return gatun_optimizer_ema(run.stream(), &desc, average[i], values[i], momentum[i], nullptr, e); });
    });
    b.row("gradient_norm", "f32", {elements}, {.flops = 2 * n, .bytes = 4 * n}, [&, elements](Run& run) {
      const gatun_layout one = layout(GATUN_F32, {1});
      const gatun_optimizer_gradient_norm_desc desc{sizeof desc, 1.0f, layout(GATUN_F32, {elements}), one, one, {}};
      size_t bytes = 0;
      call([&](gatun_error* e) { return gatun_optimizer_gradient_norm_workspace(&desc, &bytes, e); });
      Rotating<float> gradients = run.normal<float>(elements), norm = run.empty<float>(1), scale = run.empty<float>(1);
      Rotating<uint8_t> workspace = run.empty<uint8_t>(static_cast<int64_t>(bytes));
      run.time([&](int i, gatun_error* e) {
        return gatun_optimizer_gradient_norm(run.stream(), &desc, gradients[i], norm[i], scale[i], nullptr, workspace[i], bytes, e);
      });
    });
  }
}

GATUN_TRIALS(optimizer, selftest, bench);

}  // namespace
}  // namespace gatun::trial
