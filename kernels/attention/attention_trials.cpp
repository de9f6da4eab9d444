// SPDX-License-Identifier: Apache-2.0
#include "kernels/attention/attention_reference.h"
#include "kernels/trial/bench.h"
#include "kernels/trial/selftest.h"

namespace gatun::trial {
namespace {

struct Problem {
  int64_t batch, heads, queries, keys, depth;
  bool causal, biased;  // the bias is (1, heads, queries, keys)

  int64_t query_values() const { return batch * queries * heads * depth; }
  int64_t key_values() const { return batch * keys * heads * depth; }
  int64_t bias_values() const { return biased ? heads * queries * keys : 0; }
  float scale() const { return 1.0f / std::sqrt(static_cast<float>(depth)); }
  ShapeText text() const {
    const ShapeText shape{batch, heads, queries, depth};
    return (queries == keys ? shape.text : shape + (" " + std::to_string(keys) + " keys").c_str()) + (causal ? " causal" : "") + (biased ? " bias" : "");
  }
  gatun_layout q(int32_t dtype) const { return layout(dtype, {batch, queries, heads, depth}); }
  gatun_layout k(int32_t dtype) const { return layout(dtype, {batch, keys, heads, depth}); }
  gatun_layout bias() const { return biased ? layout(GATUN_F32, {1, heads, queries, keys}) : gatun_layout{}; }
  gatun_layout log_sum_exp() const { return layout(GATUN_F32, {batch, heads, queries}); }
  gatun_attention_desc forward(int32_t dtype) const {
    return {sizeof(gatun_attention_desc), causal, scale(), 0, q(dtype), k(dtype), k(dtype), bias(), {}, {}, q(dtype), log_sum_exp()};
  }
  gatun_attention_backward_desc backward(int32_t dtype) const {
    return {sizeof(gatun_attention_backward_desc), causal, scale(), 0, q(dtype), k(dtype), k(dtype), bias(), {}, {}, q(dtype), log_sum_exp(), q(dtype),
            q(dtype), k(dtype), k(dtype), bias()};
  }
};

size_t forward_workspace(gatun_stream* stream, const gatun_attention_desc& desc) {
  size_t bytes = 0;
  call([&](gatun_error* e) { return gatun_attention_forward_workspace(stream, &desc, &bytes, e); });
  return bytes;
}

size_t backward_workspace(gatun_stream* stream, const gatun_attention_backward_desc& desc) {
  size_t bytes = 0;
  call([&](gatun_error* e) { return gatun_attention_backward_workspace(stream, &desc, &bytes, e); });
  return bytes;
}

struct Inputs {
  std::vector<float> q, k, v, bias, dout;
};

template <class T>
struct Reference {
  std::vector<T> out, log_sum_exp, dq, dk, dv, dbias;
  template <class Round = Unrounded>
  Reference(const Problem& p, const Inputs& in, Round round = {})
      : out(in.q.size()), log_sum_exp(static_cast<size_t>(p.batch * p.heads * p.queries)), dq(in.q.size()), dk(in.k.size()), dv(in.k.size()),
        dbias(in.bias.size()) {
    for (int64_t b = 0; b < p.batch; ++b) {
      for (int64_t h = 0; h < p.heads; ++h) head(p, in, b, h, round);
    }
  }

 private:
  template <class Round>
  void head(const Problem& p, const Inputs& in, int64_t b, int64_t h, Round round) {
    const auto take = [&](const std::vector<float>& from, int64_t rows) {
      std::vector<T> to;
      for (int64_t r = 0; r < rows; ++r) {
        const auto at = from.begin() + ((b * rows + r) * p.heads + h) * p.depth;
        to.insert(to.end(), at, at + p.depth);
      }
      return to;
    };
    const auto put = [&](const std::vector<T>& from, std::vector<T>& to, int64_t rows) {
      for (int64_t r = 0; r < rows; ++r) std::copy_n(from.begin() + r * p.depth, p.depth, to.begin() + ((b * rows + r) * p.heads + h) * p.depth);
    };
    const std::vector<T> q = take(in.q, p.queries), k = take(in.k, p.keys), v = take(in.v, p.keys), dout = take(in.dout, p.queries);
    const int64_t scores = p.biased ? p.queries * p.keys : 0;
    const std::vector<T> bias(in.bias.begin() + h * scores, in.bias.begin() + (h + 1) * scores);
    std::vector<T> o(q.size()), lse(static_cast<size_t>(p.queries)), oq(q.size()), ok(k.size()), ov(k.size()), ob(bias.size());
    const AttentionSize n{p.queries, p.keys, p.depth, p.causal};
    const T scale = static_cast<T>(p.scale());
    attention_reference<T>(n, scale, q.data(), k.data(), v.data(), p.biased ? bias.data() : nullptr, o.data(), lse.data(), round);
    attention_backward_reference<T>(n, scale, q.data(), k.data(), v.data(), p.biased ? bias.data() : nullptr, o.data(), lse.data(), dout.data(), oq.data(),
                                    ok.data(), ov.data(), p.biased ? ob.data() : nullptr, round);
    put(o, out, p.queries);
    put(oq, dq, p.queries);
    put(ok, dk, p.keys);
    put(ov, dv, p.keys);
    std::copy(lse.begin(), lse.end(), log_sum_exp.begin() + (b * p.heads + h) * p.queries);
    for (size_t i = 0; i < ob.size(); ++i) dbias[static_cast<size_t>(h * scores) + i] += ob[i];
  }
};

template <class S>
void compare(Selftest& s, const Problem& p) {
  const Inputs in{testing::rounded<S>(s.normal(p.query_values())), testing::rounded<S>(s.normal(p.key_values())),
                  testing::rounded<S>(s.normal(p.key_values())), s.normal(p.bias_values()), testing::rounded<S>(s.normal(p.query_values()))};
  const Reference<double> truth(p, in);
  const Reference<float> naive(p, in, [](float x) { return static_cast<float>(static_cast<S>(x)); });
  const Device& d = s.device();
  Buffer<S> q(d, testing::stored<S>(in.q)), k(d, testing::stored<S>(in.k)), v(d, testing::stored<S>(in.v)), dout(d, testing::stored<S>(in.dout)),
      out(d, in.q.size()), dq(d, in.q.size()), dk(d, in.k.size()), dv(d, in.k.size());
  Buffer<float> bias(d, in.bias), log_sum_exp(d, truth.log_sum_exp.size()), dbias(d, in.bias.size());
  const auto forward = p.forward(testing::kDtype<S>);
  const auto backward = p.backward(testing::kDtype<S>);
  Buffer<uint8_t> forward_memory(d, forward_workspace(s.stream(), forward)), backward_memory(d, backward_workspace(s.stream(), backward));
  call([&](gatun_error* e) {
    return gatun_attention_forward(s.stream(), &forward, q.data(), k.data(), v.data(), p.biased ? bias.data() : nullptr, nullptr, nullptr, out.data(),
                                   log_sum_exp.data(), forward_memory.data(), forward_memory.size(), e);
  });
  call([&](gatun_error* e) {
    return gatun_attention_backward(s.stream(), &backward, q.data(), k.data(), v.data(), p.biased ? bias.data() : nullptr, nullptr, nullptr, out.data(),
                                    log_sum_exp.data(), dout.data(), dq.data(), dk.data(), dv.data(), p.biased ? dbias.data() : nullptr,
                                    backward_memory.data(), backward_memory.size(), e);
  });
  s.check("forward", dtype<S>(), p.text(), out.values(), truth.out, naive.out);
  s.check("forward, log-sum-exp", dtype<S>(), p.text(), log_sum_exp.values(), truth.log_sum_exp, naive.log_sum_exp);
  s.check("backward, dq", dtype<S>(), p.text(), dq.values(), truth.dq, naive.dq);
  s.check("backward, dk", dtype<S>(), p.text(), dk.values(), truth.dk, naive.dk);
  s.check("backward, dv", dtype<S>(), p.text(), dv.values(), truth.dv, naive.dv);
  // The gradient of a score is a difference of stored numbers.
  const double stored = testing::kDtype<S> == GATUN_F32 ? 0 : testing::kRounding<S> * testing::magnitude(truth.dbias);
  if (p.biased) {
    s.add("backward, dbias", dtype<S>(), p.text(), testing::distance(dbias.values(), truth.dbias),
          testing::bound(truth.dbias, naive.dbias) + stored);
  }
}

void selftest(Selftest& s) {
  for (int round = 0; round < s.rounds(); ++round) {
    // Enough rows for the yardstick's largest error not to be small by chance.
    const int64_t queries = s.extent(20, 300), keys = s.chance(0.5) ? queries : s.extent(20, 300);
    const Problem p{s.extent(1, 3), s.extent(1, 3), queries, keys, s.chance(0.5) ? 64 : s.extent(8, 128), s.chance(0.5), s.chance(0.3)};
    for_each_storage(s.device(), [&](auto storage) { compare<decltype(storage)>(s, p); });
  }
}

template <class S>
void time_problem(Bench& b, const Problem& p) {
  // Of a causal problem the half that is seen. dq, dk, dv need five products of the forward pass's two.
  const double product = 2.0 * static_cast<double>(p.batch * p.heads * p.queries * p.depth) * static_cast<double>(p.keys) / (p.causal ? 2 : 1);
  const double bytes = static_cast<double>(sizeof(S)) * static_cast<double>(p.query_values() + p.key_values());
  const bool tensor_cores = sizeof(S) == 2;
  const int32_t type = testing::kDtype<S>;
  const int64_t rows = p.batch * p.heads * p.queries;
  b.row("forward", dtype<S>(), p.text(), {.flops = 2 * product, .bytes = 2 * bytes, .tensor_cores = tensor_cores}, [&](Run& run) {
    Rotating<S> q = run.normal<S>(p.query_values()), k = run.normal<S>(p.key_values()), v = run.normal<S>(p.key_values()), out = run.empty<S>(p.query_values());
    Rotating<float> log_sum_exp = run.empty<float>(rows);
    const auto desc = p.forward(type);
    Buffer<uint8_t> memory(run.device(), forward_workspace(run.stream(), desc));
    run.time([&](int i, gatun_error* e) {
      return gatun_attention_forward(run.stream(), &desc, q[i], k[i], v[i], nullptr, nullptr, nullptr, out[i], log_sum_exp[i], memory.data(), memory.size(), e);
    });
  });
  b.row("backward", dtype<S>(), p.text(), {.flops = 5 * product, .bytes = 4 * bytes, .tensor_cores = tensor_cores}, [&](Run& run) {
    Rotating<S> q = run.normal<S>(p.query_values()), k = run.normal<S>(p.key_values()), v = run.normal<S>(p.key_values()), out = run.normal<S>(p.query_values()),
                dout = run.normal<S>(p.query_values()), dq = run.empty<S>(p.query_values()), dk = run.empty<S>(p.key_values()),
                dv = run.empty<S>(p.key_values());
    // Near what the forward pass gives for normal numbers: the probabilities are of the size that they are in training.
    Rotating<float> log_sum_exp = run.filled(std::vector<float>(static_cast<size_t>(rows), std::log(static_cast<float>(p.keys)) + 0.5f));
    const auto desc = p.backward(type);
    Buffer<uint8_t> memory(run.device(), backward_workspace(run.stream(), desc));
    run.time([&](int i, gatun_error* e) {
      return gatun_attention_backward(run.stream(), &desc, q[i], k[i], v[i], nullptr, nullptr, nullptr, out[i], log_sum_exp[i], dout[i], dq[i], dk[i], dv[i],
                                      nullptr, memory.data(), memory.size(), e);
    });
  });
}

// ViT-B's heads at the token counts of 96, 224, 256, 384 and 512 pixels, and a causal sequence.
void bench(Bench& b) {
  if (b.emulated()) return time_problem<testing::Bfloat16>(b, {1, 1, 50, 50, 64, false, false});
  if (b.device().cpu()) {
    for (const int64_t length : {50, 197, 257}) time_problem<float>(b, {16, 3, length, length, 64, false, false});
    return time_problem<float>(b, {2, 12, 1024, 1024, 64, true, false});
  }
  for (const int64_t length : {50, 197, 257, 577, 1025}) time_problem<testing::Bfloat16>(b, {64, 12, length, length, 64, false, false});
  time_problem<testing::Bfloat16>(b, {8, 12, 4096, 4096, 64, true, false});
  time_problem<testing::Bfloat16>(b, {64, 12, 1025, 1025, 128, false, false});
  time_problem<float>(b, {64, 12, 197, 197, 64, false, false});
}

GATUN_TRIALS(attention, selftest, bench);

}  // namespace
}  // namespace gatun::trial
