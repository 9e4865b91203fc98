// What the ranks of a training tell each other beside sums.
#pragma once

#include <span>
#include <string_view>

#include "autograd/parameter.h"
#include "kernels/collectives/communicator.h"
#include "tools/data/loader.h"

namespace tapescope {

// Whether all ranks say the same text, by its hash.
bool same_on_all(Communicator* ranks, std::string_view text);

// {own rows, ...} of each rank as {batch rows, ...}, on the CPU.
Tensor gathered(const Tensor& own, const Batch& batch, Communicator& ranks);
// The batch that the ranks share, put together, but for the tensor of this name.
Batch whole_batch(const Batch& own, Communicator& ranks, std::string_view without = {});

// A failure on every rank where parameters are not alike on all, which names the first that is not,
// the rank and the step. To be called now and then: whatever made a rank diverge, it is no longer
// the same training.
void expect_alike(std::span<const ParameterRef> parameters, Communicator& ranks, std::int64_t step);

}  // namespace tapescope
