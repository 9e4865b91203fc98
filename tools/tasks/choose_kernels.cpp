#include "tools/tasks/choose_kernels.h"

#include <tuple>

#include "tools/files/text.h"
#include "tools/files/text_file.h"
#include "tools/training/kernel_file.h"

namespace tapescope::tasks {
namespace {

std::pair<std::string, KernelChoices> measured_now(TrainingSetup& setup,
                                                   monitoring::ProgressLine& out) {
  const Device device = setup.options.device;
  if (device.kind == DeviceKind::emulated) {
    throw usage_error(
        "--kernel measured: the emulator's times say nothing of a GPU's; leave 'measured' out, and "
        "the best rung of each ladder runs");
  }
  Trainer trial(*setup.model, *setup.task, setup.train, setup.validation, setup.options);
  const KernelMeasurement measured = trial.measure_kernels();
  out.line(sentence_of(measured));
  return {kernel_file_text(measured, device), measured.choices()};
}

}  // namespace

void ChosenKernels::prepare(const std::function<void()>& what) const {
  try {
    what();
  } catch (const Error& error) {
    const std::string text = error.what();
    for (const auto& [kernel, variant] : choices) {
      if (file.empty() || text.find("[" + kernel + "]") == std::string::npos) continue;
      throw usage_error("'{}': {}; {}", printable(file.string()), text, kKernelFileRemedy);
    }
    throw;
  }
}

ChosenKernels choose_kernels(const TrainConfig& config, const TrainingRequest& request,
                             TrainingSetup& setup, monitoring::ProgressLine& out) {
  const KernelRequest asked = parse_kernels(config.kernel);
  ChosenKernels chosen;
  if (!asked.by_shape()) return chosen;
  const std::filesystem::path own = kernel_file_of(config.out);
  const bool kept = !config.out.empty() && std::filesystem::exists(own);
  if (kept && (request.resume || !request.measure)) {
    chosen.file = own;
    chosen.choices = read_kernel_file(own, setup.options.device);
  } else if (!asked.file.empty()) {
    chosen.file = asked.file;
    chosen.choices = read_kernel_file(asked.file, setup.options.device);
    chosen.text = read_text(asked.file);
  } else if (request.measure) {
    if (goes_on(config, request)) {
      out.line(fmt::format("'{}' is gone: kernels are measured anew, and the bits may be others",
                           printable(own.string())));
    }
    std::tie(chosen.text, chosen.choices) = measured_now(setup, out);
  }
  setup.options.kernels.insert(chosen.choices.begin(), chosen.choices.end());
  return chosen;
}

}  // namespace tapescope::tasks
