#include "tools/training/deviation.h"

#include <algorithm>
#include <cmath>

#include "autograd/program/program.h"
#include "engine/isa.h"
#include "tools/data/loader.h"

namespace tapescope {
namespace {

// Every output of the model for this image.
std::vector<Tensor> answers(const Model& model, const Tensor& image, const Backend& backend) {
  Tape tape(backend.device, Mode::evaluation, {0, backend.choices, backend.precision});
  std::vector<Var> outputs;
  for (const auto& [name, output] :
       model({{"image", tape.input("image", image.dtype(), image.shape())}})) {
    outputs.push_back(output);
  }
  return tape.compile(outputs).run({{"image", image}});
}

}  // namespace

double deviation(std::span<const Tensor> got, std::span<const Tensor> want) {
  double apart = 0, all = 0;
  for (std::size_t k = 0; k < want.size(); ++k) {
    for (std::int64_t i = 0; i < want[k].elements(); ++i) {
      apart += std::pow(got[k].item(i) - want[k].item(i), 2);
      all += std::pow(want[k].item(i), 2);
    }
  }
  return apart == 0 ? 0 : std::sqrt(apart / all);
}

void tell_deviation(const Model& model, const Tensor& image, const Backend& backend) {
  if (backend.precision == DType::f32) return;
  move_to(backend.device, model.parameters());
  Backend f32 = backend;
  f32.precision = DType::f32;
  const double apart = deviation(answers(model, image, backend), answers(model, image, f32));
  const std::int64_t count = image.shape()[0];
  fmt::print(stderr, "--precision {}: the net's answers to the first {} lie {:.2g} % from f32's\n",
             name_of(backend.precision), count == 1 ? "picture" : fmt::format("{} pictures", count),
             100 * apart);
  if (const std::string slow = slow_precision(backend); !slow.empty()) {
    fmt::print(stderr, "{}\n", slow);
  }
}

void tell_deviation(const Model& model, const Task& task, std::shared_ptr<const SampleSource> data,
                    const Backend& backend) {
  if (backend.precision == DType::f32) return;
  const std::int64_t count = std::min<std::int64_t>(8, data->size());
  Loader loader(std::move(data), {.batch_size = count, .threads = 0});
  loader.start(0);
  Batch batch;
  if (!loader.next(batch)) return;
  for (const NamedTensor& fed : task.feed(batch)) {
    if (fed.name == "image") tell_deviation(model, fed.value, backend);
  }
}

std::string slow_precision(const Backend& backend) {
  if (backend.precision == DType::f32 || backend.device.kind != DeviceKind::cpu) return "";
  if (backend.precision.tf32)
    return "the CPU's kernels have no tf32 arithmetic: it is computed as f32";
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (isa() >= Isa::avx512 && __builtin_cpu_supports("avx512bf16")) return "";
#endif
  return fmt::format(
      "this processor has no {} arithmetic (AVX-512 BF16): it is computed as f32, which takes "
      "longer than --precision f32",
      name_of(backend.precision));
}

}  // namespace tapescope
