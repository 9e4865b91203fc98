// Optimiser steps as the papers write them: the oracle.
#pragma once

#include "kernels/optimizer/optimizer.h"

namespace tapescope::reference {

Plan sgd(const SgdShape& shape);
Plan adamw(const AdamwShape& shape);

}  // namespace tapescope::reference
