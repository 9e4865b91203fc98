// Checks that any op must pass, each returning what is wrong as sentences: so that a test can show
// that a check fails where it should.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "kernels/common/variant.h"
#include "tests/autograd/op_cases.h"

namespace tapescope {

using Problems = std::vector<std::string>;

// Every variant of the op's kernel family on every device there is, in every dtype that its table
// claims, against the f64 reference, with the budget (L + 8) * unit * declared factor * S: L the
// additions that make an output element, S the result on absolute values where the op is linear
// (the sum of what is added), the largest result otherwise. Outputs and workspace are filled with
// NaN beforehand, guard bands stand around every buffer, operands lie one element off alignment
// (on a GPU and its emulator aligned ones are tried as well), and a second run must give the same
// bits. On the emulator so must another order of threads, and samples of more than 2 MFLOP are left
// out unless TAPESCOPE_FULL is set.
// Where `wanted` says no, a variant is passed over.
Problems check_variants(const Case& c);
Problems check_variants(const Case& c, const std::function<bool(const VariantInfo&)>& wanted);

// The vector-Jacobian product in f64 against central differences of fourth order, to 1e-6.
Problems check_gradient(const Case& c);
// The gradient of the gradient likewise, to 1e-5 (it is a difference of what the former checks).
Problems check_second_gradient(const Case& c);

// The op and its gradient recorded on every other device there is, in f32, against the CPU in f64:
// what its vector-Jacobian product appends must exist there too.
Problems check_devices(const Case& c);
Problems check_device(const Case& c, Device device);

// What the op claims of itself.
Problems check_rows_independent(const Case& c);  // c built with 7 rows
Problems check_overwrite(const Case& c);
Problems check_threads(const Case& c);
Problems check_nonnegative(const Case& c);
// The same of what explanations ask: each claim of op.h under its name (harness_facts.cpp).
Problems check_shape_operands(const Case& c);
Problems check_moves(const Case& c);
Problems check_selects(const Case& c);
Problems check_weight_operand(const Case& c);
Problems check_channel_axis(const Case& c);
Problems check_nonnegative_factors(const Case& c);
Problems check_keeps_signs(const Case& c);
Problems check_constant_part(const Case& c);
Problems check_channels_last(const Case& c);
Problems check_channel_affine(const Case& c);
Problems check_without_padding(const Case& c);
Problems check_elementary(const Case& c);
// Recorded at 3 rows and run at 7, against a recording at 7; both cases of one sample.
Problems check_batch_size(const Case& at3, const Case& at7);

}  // namespace tapescope
