#include "autograd/explain/tracin.h"

#include "autograd/ops/ops.h"
#include "engine/error.h"

namespace tapescope::explain {

SampleGradients::SampleGradients(const Record& record, std::span<const ParameterRef> parameters,
                                 const Backend& backend) {
  if (parameters.empty()) throw usage_error("[tracin] no parameters to take gradients of");
  Tape tape(backend.device, Mode::evaluation, {0, backend.choices});
  const Var loss = record(tape);
  program_ = std::make_unique<Program>(tape.compile(tape.gradient(sum(loss), parameters)));
}

std::vector<float> SampleGradients::of(std::span<const NamedTensor> inputs) {
  std::vector<float> row;
  for (const Tensor& part : program_->run(inputs)) {
    const Tensor on_host = part.to(Device::cpu());
    const auto values = on_host.values<float>();
    row.insert(row.end(), values.begin(), values.end());
  }
  return row;
}

double tracin_share(double rate, std::span<const float> gradient, std::span<const float> other) {
  if (gradient.size() != other.size()) {
    throw usage_error(
        "[tracin] gradients of {} and {} elements; both must be of the same "
        "parameters",
        gradient.size(), other.size());
  }
  double sum = 0;
  for (std::size_t i = 0; i < gradient.size(); ++i) {
    sum += static_cast<double>(gradient[i]) * static_cast<double>(other[i]);
  }
  return rate * sum;
}

}  // namespace tapescope::explain
