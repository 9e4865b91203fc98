// What k right answers of n say of how often answers are right: exact, since n is often small.
#pragma once

#include <cstdint>
#include <utility>

namespace tapescope::monitoring {

// P(X <= k) and P(X >= k) of n answers that are right with probability p each.
double at_most(std::int64_t k, std::int64_t n, double p);
double at_least(std::int64_t k, std::int64_t n, double p);

// The probabilities that k of n do not rule out at 95 % (Clopper and Pearson 1934).
std::pair<double, double> interval_of(std::int64_t k, std::int64_t n);

}  // namespace tapescope::monitoring
