// Symmetric positive semidefinite systems: what every fit by least squares comes down to.
#pragma once

#include <span>
#include <vector>

namespace tapescope::explain {

// x of `matrix` x = `right`. matrix {n,n} row-major, of which the lower half is read; right {n}.
// Empty where the matrix, to ten digits, has no inverse.
std::vector<double> solve_symmetric(std::span<const double> matrix, std::span<const double> right);

}  // namespace tapescope::explain
