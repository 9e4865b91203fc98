// Softmax and log-softmax as the textbook writes them: the oracle.
#pragma once

#include "kernels/log_softmax/log_softmax.h"

namespace tapescope::reference {

Plan log_softmax(const SoftmaxShape& shape);
Plan softmax(const SoftmaxShape& shape);
Plan log_softmax_gradient(const SoftmaxShape& shape);
Plan softmax_gradient(const SoftmaxShape& shape);

}  // namespace tapescope::reference
