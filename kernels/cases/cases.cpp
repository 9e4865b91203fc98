#include "kernels/cases/cases.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "engine/runtime.h"
#include "kernels/families.h"

namespace tapescope::kernel_cases {
namespace {

// "gelu:64x32" as a word and numbers.
struct Words {
  std::string word;
  std::vector<std::int64_t> n;
};

[[noreturn]] void refuse(std::string_view family, std::string_view form, std::string_view shape) {
  throw usage_error("[{}] '{}' is no shape of this family: give {}, every extent at least 1",
                    family, shape, form);
}

Words read(std::string_view family, std::string_view form, std::string_view shape) {
  Words words;
  std::string_view rest = shape;
  if (const std::size_t colon = rest.find(':'); colon != rest.npos) {
    words.word = rest.substr(0, colon);
    rest.remove_prefix(colon + 1);
  }
  while (true) {
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), value);
    if (error != std::errc() || value < 1 || value > std::int64_t{1} << 40) {
      refuse(family, form, shape);
    }
    words.n.push_back(value);
    rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
    if (rest.empty()) break;
    if (rest.front() != 'x') refuse(family, form, shape);
    rest.remove_prefix(1);
  }
  const std::size_t numbers =
      static_cast<std::size_t>(std::count(form.begin(), form.end(), 'x')) + 1;
  const bool wants_word = form.find(':') != form.npos;
  if (words.n.size() != numbers || wants_word == words.word.empty()) refuse(family, form, shape);
  return words;
}

template <class S>
Case make_case(std::string_view shape, Variants<S> cpu, const S& s, std::vector<Type> in,
               std::vector<Type> out, double flops) {
  Case c{std::string(cpu.family),
         std::string(shape),
         s.dtype,
         std::move(in),
         std::move(out),
         flops,
         nullptr};
  c.variants = [cpu, s](DeviceKind device) {
    const Variants<S> table = device == DeviceKind::cpu ? cpu : gpu_variants<S>(device, cpu.family);
    std::vector<CaseVariant> found;
    for (const Variant<S>& v : table) {
      if (!v.reason.empty() || !v.dtypes.contains(s.dtype)) continue;
      if (v.supports != nullptr && !v.supports(s)) continue;
      found.push_back({v.name, v.error_factor, v.note, [&v, s] { return v.prepare(s); }});
    }
    return found;
  };
  return c;
}

double number(std::int64_t n) { return static_cast<double>(n); }

// --- one function per family: its form is beside it in the table below ---

Case unary(std::string_view shape, DType d) {
  const Words w = read("unary", "FUNCTION:N", shape);
  for (int f = 0; f < kUnaryFunctions; ++f) {
    if (name_of(static_cast<Unary>(f)) != w.word) continue;
    const Type t{d, {w.n[0]}};
    return make_case(shape, unary_variants(),
                     UnaryShape{d, static_cast<Unary>(f), w.n[0], 0.1, 0.5}, {t}, {t},
                     number(w.n[0]));
  }
  throw usage_error("[unary] there is no function '{}'", w.word);
}
Case binary(std::string_view shape, DType d) {
  const Words w = read("binary", "FUNCTION:RxC", shape);
  // "add" of two matrices, "add_row" of a matrix and a row.
  const bool row = w.word.ends_with("_row");
  const std::string name = row ? w.word.substr(0, w.word.size() - 4) : w.word;
  for (int f = 0; f < kBinaryFunctions; ++f) {
    if (name_of(static_cast<Binary>(f)) != name) continue;
    const Type t{d, {w.n[0], w.n[1]}}, b{d, row ? Shape{w.n[1]} : t.shape};
    return make_case(shape, binary_variants(),
                     BinaryShape{d, static_cast<Binary>(f), t.shape, b.shape, 0.1, 0.5}, {t, b},
                     {t}, number(t.elements()));
  }
  throw usage_error("[binary] there is no function '{}'", name);
}
Case reduce(std::string_view shape, DType d) {
  const Words w = read("reduce", "rows|columns:RxC", shape);
  if (w.word != "rows" && w.word != "columns") refuse("reduce", "rows|columns:RxC", shape);
  const ReduceShape s{d, Reduction::sum, {w.n[0], w.n[1]}, w.word == "rows" ? 2u : 1u};
  return make_case(shape, reduce_variants(), s, {{d, s.in}}, {{d, s.out()}},
                   number(s.in.elements()));
}
Case softmax_case(std::string_view shape, DType d, Variants<SoftmaxShape> table, int operands) {
  const Words w = read(table.family, "RxC", shape);
  const Type t{d, {w.n[0], w.n[1]}};
  return make_case(shape, table, SoftmaxShape{d, w.n[0], w.n[1]},
                   std::vector<Type>(static_cast<std::size_t>(operands), t), {t},
                   5 * number(t.elements()));
}
Case log_softmax(std::string_view shape, DType d) {
  return softmax_case(shape, d, log_softmax_variants(), 1);
}
Case log_softmax_gradient(std::string_view shape, DType d) {
  return softmax_case(shape, d, log_softmax_gradient_variants(), 2);
}
Case batch_norm_training(std::string_view shape, DType d) {
  const Words w = read("batch_norm_training", "RxC", shape);
  const Type x{d, {w.n[0], w.n[1]}}, c{wide(d), {w.n[1]}};
  return make_case(shape, batch_norm_training_variants(), BatchNormShape{d, w.n[0], w.n[1]},
                   {x, c, c}, {x, c, c}, 8 * number(x.elements()));
}
Case batch_norm_gradient(std::string_view shape, DType d) {
  const Words w = read("batch_norm_gradient", "RxC", shape);
  const Type x{d, {w.n[0], w.n[1]}}, c{wide(d), {w.n[1]}};
  return make_case(shape, batch_norm_gradient_variants(), BatchNormShape{d, w.n[0], w.n[1]},
                   {x, x, c, c, c}, {x, c, c}, 10 * number(x.elements()));
}
Case dropout(std::string_view shape, DType d) {
  const Words w = read("dropout", "RxE", shape);
  const Type x{d, {w.n[0], w.n[1]}};
  return make_case(shape, dropout_variants(), DropoutShape{d, w.n[0], w.n[1], 0.5, 42},
                   {x, {DType::i64, {}}}, {x}, number(x.elements()));
}
Pool2dShape pool_of(std::string_view family, std::string_view shape, DType d) {
  const Words w = read(family, "NxHxWxCxK", shape);
  const std::int64_t K = w.n[4], pad = (K - 1) / 2;
  return {d, w.n[0], w.n[1], w.n[2], w.n[3], K, K, 2, 2, pad, pad};
}
Case max_pool2d(std::string_view shape, DType d) {
  const Pool2dShape s = pool_of("max_pool2d", shape, d);
  const Type x{d, {s.N, s.H, s.W, s.C}}, y{d, {s.N, s.P(), s.Q(), s.C}};
  return make_case(shape, max_pool2d_variants(), s, {x}, {y, {DType::u8, y.shape}},
                   number(y.elements() * s.KH * s.KW));
}
Case max_pool2d_scatter(std::string_view shape, DType d) {
  const Pool2dShape s = pool_of("max_pool2d_scatter", shape, d);
  const Type x{d, {s.N, s.H, s.W, s.C}}, y{d, {s.N, s.P(), s.Q(), s.C}};
  return make_case(shape, max_pool2d_scatter_variants(), s, {y, {DType::u8, y.shape}}, {x},
                   number(y.elements()));
}
Case avg_pool2d(std::string_view shape, DType d) {
  const Pool2dShape s = pool_of("avg_pool2d", shape, d);
  const Type x{d, {s.N, s.H, s.W, s.C}}, y{d, {s.N, s.P(), s.Q(), s.C}};
  return make_case(shape, avg_pool2d_variants(), s, {x}, {y}, number(y.elements() * s.KH * s.KW));
}
Case transpose(std::string_view shape, DType d) {
  // A batch of matrices: images from NHWC to NCHW are Nx(H*W)xC.
  const Words w = read("transpose", "BxRxC", shape);
  const TransposeShape s{d, {w.n[0], w.n[1], w.n[2]}, {0, 2, 1}};
  return make_case(shape, transpose_variants(), s, {{d, s.in}}, {{d, s.out()}}, 0);
}
Case pad(std::string_view shape, DType d) {
  const Words w = read("pad", "NxHxWxC", shape);
  const PadShape s{d, {w.n[0], w.n[1], w.n[2], w.n[3]}, {0, 1, 1}, {0, 1, 1}, 0};
  return make_case(shape, pad_variants(), s, {{d, s.in}}, {{d, s.out()}}, 0);
}
Case upsample_bilinear(std::string_view shape, DType d) {
  const Words w = read("upsample_bilinear", "NxHxWxCxF", shape);
  const UpsampleShape s{d, w.n[0], w.n[1], w.n[2], w.n[3], w.n[1] * w.n[4], w.n[2] * w.n[4]};
  const Type x{d, {s.N, s.H, s.W, s.C}}, y{d, {s.N, s.P, s.Q, s.C}};
  return make_case(shape, upsample_bilinear_variants(), s, {x}, {y}, 8 * number(y.elements()));
}
Case sgd(std::string_view shape, DType d) {
  const Words w = read("sgd", "N", shape);
  const Type t{d, {w.n[0]}}, rate{d, {}};
  return make_case(shape, sgd_variants(), SgdShape{d, w.n[0], 0.9, true, 5e-4}, {t, t, t, rate},
                   {t, t}, 6 * number(w.n[0]));
}
Case adamw(std::string_view shape, DType d) {
  const Words w = read("adamw", "N", shape);
  const Type t{d, {w.n[0]}}, rate{d, {}};
  AdamwShape s;
  s.dtype = d;
  s.n = w.n[0];
  return make_case(shape, adamw_variants(), s, {t, t, t, t, rate, {DType::i64, {}}}, {t, t, t},
                   12 * number(w.n[0]));
}
Case matmul(std::string_view shape, DType d) {
  // nn: a {M,K} and b {K,N}; a t in a letter's place: that one is stored the other way round.
  const Words w = read("matmul", "nn|nt|tn|tt:MxNxK", shape);
  if (w.word != "nn" && w.word != "nt" && w.word != "tn" && w.word != "tt") {
    refuse("matmul", "nn|nt|tn|tt:MxNxK", shape);
  }
  const std::int64_t M = w.n[0], N = w.n[1], K = w.n[2];
  const MatmulShape s{d, false, w.word[0] == 't', w.word[1] == 't', M, N, K};
  return make_case(shape, matmul_variants(), s,
                   {{d, s.transpose_a ? Shape{K, M} : Shape{M, K}},
                    {d, s.transpose_b ? Shape{N, K} : Shape{K, N}}},
                   {{d, {M, N}}}, 2 * number(M) * number(N) * number(K));
}
struct Convolution {
  Conv2dShape s;
  Type x, w, y;
};
Convolution convolution(std::string_view family, std::string_view shape, DType d) {
  const Words n = read(family, "NxHxWxIxOxKxSTRIDE", shape);
  Conv2dShape s;
  s.dtype = d;
  s.N = n.n[0], s.H = n.n[1], s.W = n.n[2], s.I = n.n[3], s.O = n.n[4];
  s.KH = s.KW = n.n[5];
  s.stride_h = s.stride_w = n.n[6];
  s.pad_h = s.pad_w = s.KH / 2;
  return {s, {d, {s.N, s.H, s.W, s.I}}, {d, {s.O, s.KH, s.KW, s.I}}, {d, {s.N, s.P(), s.Q(), s.O}}};
}
Case conv2d(std::string_view shape, DType d) {
  const Convolution c = convolution("conv2d", shape, d);
  return make_case(shape, conv2d_variants(), c.s, {c.x, c.w}, {c.y}, 2 * c.s.macs());
}
Case conv2d_data_gradient(std::string_view shape, DType d) {
  const Convolution c = convolution("conv2d_data_gradient", shape, d);
  return make_case(shape, conv2d_data_gradient_variants(), c.s, {c.y, c.w}, {c.x}, 2 * c.s.macs());
}
Case conv2d_weight_gradient(std::string_view shape, DType d) {
  const Convolution c = convolution("conv2d_weight_gradient", shape, d);
  return make_case(shape, conv2d_weight_gradient_variants(), c.s, {c.x, c.y},
                   {{wide(d), c.w.shape}}, 2 * c.s.macs());
}

// Layers of small nets on MNIST and CIFAR, of ResNet-18, and first layers on few channels.
const std::vector<std::string_view> kConvolutions = {
    "64x28x28x1x32x3x1",   "64x32x32x3x32x3x1",   "8x224x224x3x64x7x2", "64x32x32x16x16x3x1",
    "64x32x32x32x32x3x1",  "64x16x16x64x64x3x1",  "64x8x8x128x128x3x1", "8x56x56x64x64x3x1",
    "8x28x28x128x128x3x1", "8x14x14x256x256x3x1", "8x7x7x512x512x3x1",  "8x56x56x64x128x3x2",
    "8x56x56x64x256x1x1"};
const std::vector<std::string_view> kLargeConvolutions = {
    "64x224x224x3x64x7x2", "64x56x56x64x64x3x1",  "64x28x28x128x128x3x1", "64x14x14x256x256x3x1",
    "64x7x7x512x512x3x1",  "64x56x56x64x128x3x2", "64x56x56x64x256x1x1"};
const std::vector<std::string_view> kSmallConvolutions = {"2x6x6x8x16x3x1", "2x7x7x3x8x5x2"};

}  // namespace

double Case::bytes() const {
  double total = 0;
  for (const Type& type : in) total += static_cast<double>(type.bytes());
  for (const Type& type : out) total += static_cast<double>(type.bytes());
  return total;
}

std::span<const Family> families() {
  static const Family all[] = {
      {"conv2d", "NxHxWxIxOxKxSTRIDE", kSmallConvolutions, kConvolutions, kLargeConvolutions,
       conv2d},
      {"conv2d_data_gradient", "NxHxWxIxOxKxSTRIDE", kSmallConvolutions, kConvolutions,
       kLargeConvolutions, conv2d_data_gradient},
      {"conv2d_weight_gradient", "NxHxWxIxOxKxSTRIDE", kSmallConvolutions, kConvolutions,
       kLargeConvolutions, conv2d_weight_gradient},
      {"matmul",
       "nn|nt|tn|tt:MxNxK",
       {"nn:70x70x70", "nt:33x40x35"},
       {"nn:1024x1024x1024", "tt:1024x1024x1024", "nt:128x10x1024", "nn:128x1024x10",
        "tn:10x1024x128", "nt:128x512x3136", "tn:512x3136x128", "nt:1x1000x512", "nn:50000x64x27"},
       {"nn:4096x4096x4096", "nt:4096x4096x4096", "nn:2048x1000x2048", "nt:2048x1000x2048"},
       matmul},
      {"unary",
       "FUNCTION:N",
       {"relu:1024", "gelu:1024"},
       {"relu:16384", "relu:16777216", "exp:16384", "log:16384", "tanh:16384", "sigmoid:16384",
        "gelu:16384", "gelu:16777216"},
       {"relu:25690112", "gelu:25690112"},
       unary},
      {"binary",
       "FUNCTION[_row]:RxC",
       {"add:128x16", "mul_row:128x16"},
       {"add:16x1024", "add:16x1048576", "mask_positive:16x1048576", "add_row:1600x10",
        "add_row:256x64", "add_row:262144x64"},
       {"add:200704x128", "mul_row:200704x128"},
       binary},
      {"reduce",
       "rows|columns:RxC",
       {"rows:16x100", "columns:100x16"},
       {"columns:262144x64", "columns:1600000x10", "columns:16000x1000", "rows:1600000x10",
        "rows:16000x1000"},
       {"columns:200704x128", "rows:64x401408"},
       reduce},
      {"log_softmax",
       "RxC",
       {"64x10", "64x100"},
       {"128x10", "16x1000", "100000x21"},
       {"65536x10", "65536x1000"},
       log_softmax},
      {"log_softmax_gradient",
       "RxC",
       {"64x10", "64x100"},
       {"128x10", "16x1000", "100000x21"},
       {"65536x10", "65536x1000"},
       log_softmax_gradient},
      {"batch_norm_training",
       "RxC",
       {"128x16"},
       {"262144x64", "131072x16", "1024x64"},
       {"200704x128"},
       batch_norm_training},
      {"batch_norm_gradient",
       "RxC",
       {"128x16"},
       {"262144x64", "131072x16", "1024x64"},
       {"200704x128"},
       batch_norm_gradient},
      {"dropout", "RxE", {"4x256"}, {"16x1024", "16x1048576"}, {"64x401408"}, dropout},
      {"max_pool2d",
       "NxHxWxCxK",
       {"2x8x8x16x2"},
       {"64x28x28x32x2", "64x28x28x6x2", "8x112x112x64x3"},
       {"64x56x56x128x2"},
       max_pool2d},
      {"max_pool2d_scatter",
       "NxHxWxCxK",
       {"2x8x8x16x2"},
       {"64x28x28x32x2", "64x28x28x6x2", "8x112x112x64x3"},
       {"64x56x56x128x2"},
       max_pool2d_scatter},
      {"avg_pool2d",
       "NxHxWxCxK",
       {"2x8x8x16x2"},
       {"64x28x28x32x2", "64x28x28x6x2", "8x112x112x64x3"},
       {"64x56x56x128x2"},
       avg_pool2d},
      {"transpose",
       "BxRxC",
       {"2x64x16"},
       {"16x3136x64", "16x64x3136", "1x2048x2048"},
       {"64x3136x128"},
       transpose},
      {"pad", "NxHxWxC", {"2x8x8x16"}, {"16x56x56x64", "16x224x224x3"}, {"64x56x56x128"}, pad},
      {"upsample_bilinear",
       "NxHxWxCxF",
       {"2x4x4x16x2"},
       {"16x28x28x64x2", "16x7x7x1x32"},
       {"64x28x28x128x2"},
       upsample_bilinear},
      {"sgd", "N", {"1000"}, {"16384", "16777216"}, {"25000000"}, sgd},
      {"adamw", "N", {"1000"}, {"16384", "16777216"}, {"25000000"}, adamw},
  };
  return all;
}

const Family& family_named(std::string_view name) {
  std::string names;
  for (const Family& family : families()) {
    if (family.name == name) return family;
    names += (names.empty() ? "" : ", ") + std::string(family.name);
  }
  throw usage_error("no shapes are known of a kernel family '{}'; there are {}", name, names);
}

int copies_in_turn(const Case& c, Device device) {
  if (device.kind == DeviceKind::cpu) return 1;
  if (device.kind == DeviceKind::emulated) return 2;
  return static_cast<int>(std::clamp(std::ceil(256e6 / c.bytes()), 1.0, 64.0));
}

Memory::Memory(const Case& c, Device device, int copies)
    : device_(device), runtime_(&DeviceRuntime::of(device)) {
  // Far from zero, so that nothing overflows and no product is denormal.
  std::uint32_t bits = 1;
  for (const Type& type : c.in) {
    if (!is_floating(type.dtype)) {
      operands_.push_back(Tensor::zeros(type, device));
      continue;
    }
    Tensor host({DType::f32, type.shape});
    for (float& x : host.values<float>()) {
      bits = bits * 1664525u + 1013904223u;
      x = static_cast<float>(bits >> 8) / 16777216.0f + 0.25f;
    }
    operands_.push_back(host.to(type.dtype).to(device));
  }
  for (const Type& type : c.out) results_.emplace_back(type, device);
  clear_results();
  for (int copy = 1; copy < copies; ++copy) {
    std::vector<Tensor>& operands = more_operands_.emplace_back();
    for (const Tensor& operand : operands_) operands.push_back(operand.clone());
    std::vector<Tensor>& results = more_results_.emplace_back();
    for (const Type& type : c.out) results.emplace_back(type, device);
  }
}

void Memory::clear_results() {
  for (Tensor& result : results_) {
    result.copy_from(is_floating(result.dtype())
                         ? Tensor::full(result.type(), std::nan("")).to(device_)
                         : Tensor::zeros(result.type(), device_));
  }
}

void Memory::run(const Plan& plan) { run(plan, operands_, results_); }

void Memory::run_in_turn(const Plan& plan) {
  const std::size_t copy = turn_;
  turn_ = (turn_ + 1) % (more_operands_.size() + 1);
  if (copy == 0) return run(plan);
  run(plan, more_operands_[copy - 1], more_results_[copy - 1]);
}

void Memory::run(const Plan& plan, const std::vector<Tensor>& operands,
                 std::vector<Tensor>& results) {
  const auto bytes = static_cast<std::int64_t>(plan.workspace_bytes());
  if (!workspace_.defined() || workspace_.elements() < bytes) {
    workspace_ = Tensor({DType::u8, {bytes}}, device_);
  }
  // Behind the last operand and result stand those that a family may be without.
  std::vector<const void*> in;
  std::vector<void*> out;
  for (const Tensor& t : operands) in.push_back(t.data());
  for (Tensor& t : results) out.push_back(t.data());
  in.push_back(nullptr);
  out.push_back(nullptr);
  plan.run(runtime_->compute_queue(), {in.data(), out.data(), workspace_.data()});
}

std::vector<Tensor> reference_results(const Case& c, double most_flops) {
  if (c.flops > most_flops) return {};
  const Family& family = family_named(c.family);
  for (const DType dtype : {DType::f64, DType::f32}) {
    const Case exact = family.make(c.shape, dtype);
    for (const CaseVariant& variant : exact.variants(DeviceKind::cpu)) {
      if (variant.name != "reference") continue;
      // The same operands: those of a smaller dtype are rounded, and these are what they round to.
      Memory memory(exact, Device::cpu());
      Memory given(c, Device::cpu());
      for (std::size_t i = 0; i < exact.in.size(); ++i) {
        const Tensor& operand = given.operands()[i];
        memory.operands()[i].copy_from(is_floating(operand.dtype()) ? operand.to(exact.in[i].dtype)
                                                                    : operand);
      }
      memory.run(variant.prepare());
      return memory.results();
    }
  }
  return {};
}

double relative_error(const Tensor& got, const Tensor& want) {
  double largest = 0, apart = 0;
  for (std::int64_t i = 0; i < want.elements(); ++i) {
    const double a = got.item(i), b = want.item(i);
    if (std::isnan(a) != std::isnan(b)) return std::nan("");
    if (std::isnan(a) || a == b) {
      if (std::isfinite(b)) largest = std::max(largest, std::abs(b));
      continue;
    }
    largest = std::max(largest, std::abs(b));
    apart = std::max(apart, std::abs(a - b));
  }
  return apart == 0 ? 0 : apart / largest;
}

}  // namespace tapescope::kernel_cases
