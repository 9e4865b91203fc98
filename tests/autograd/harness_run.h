// Running an op's kernel as strictly as can be, on any device.
#pragma once

#include <vector>

#include "tests/autograd/harness.h"

namespace tapescope {

std::vector<Tensor> in_dtype(const std::vector<Tensor>& operands, DType dtype);
// The same, but what goes beside bf16 in f32 stays that.
std::vector<Tensor> in_dtype(const Case& c, DType dtype);
std::vector<Type> types_of(const std::vector<Tensor>& tensors);
bool same_bits(const std::vector<Tensor>& a, const std::vector<Tensor>& b);

// Every buffer, the workspace included, stands between guard bands, `shift` elements off alignment,
// outputs and workspace filled with NaN. Writes past a buffer or into an operand go to `problems`.
std::vector<Tensor> run(const Op& op, const std::vector<Tensor>& operands, const Backend& backend,
                        std::size_t shift, Problems* problems);

}  // namespace tapescope
