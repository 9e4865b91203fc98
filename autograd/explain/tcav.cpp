#include "autograd/explain/tcav.h"

#include <algorithm>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <limits>

#include "autograd/explain/normal_equations.h"
#include "engine/error.h"

namespace tapescope::explain {
namespace {

constexpr double kRidge = 1e-2;  // of the mean squared length of a centred row

double dot(std::span<const double> a, std::span<const double> b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// w.(row - centre) > 0 on the concept's side; both groups weigh the same however large they are.
struct Plane {
  std::vector<double> normal, centre;
  bool shows(const std::vector<float>& row) const {
    double sum = 0;
    for (std::size_t i = 0; i < row.size(); ++i) sum += normal[i] * (row[i] - centre[i]);
    return sum > 0;
  }
};

std::vector<double> mean_of(const Rows& rows, std::span<const std::size_t> which) {
  std::vector<double> mean(rows[0].size());
  for (std::size_t r : which) {
    for (std::size_t i = 0; i < mean.size(); ++i) {
      mean[i] += rows[r][i] / static_cast<double>(which.size());
    }
  }
  return mean;
}

// In the dual: as many unknowns as pictures, not as dimensions.
Plane fit(const Rows& shown, std::span<const std::size_t> of_shown, const Rows& others,
          std::span<const std::size_t> of_others) {
  const std::vector<double> a = mean_of(shown, of_shown), b = mean_of(others, of_others);
  Plane plane;
  for (std::size_t i = 0; i < a.size(); ++i) plane.centre.push_back((a[i] + b[i]) / 2);
  std::vector<std::vector<double>> rows;
  std::vector<double> wanted;
  const auto take = [&](const Rows& from, std::span<const std::size_t> which, double side) {
    const double weight = 1 / std::sqrt(static_cast<double>(which.size()));
    for (std::size_t r : which) {
      std::vector<double> row;
      for (std::size_t i = 0; i < plane.centre.size(); ++i) {
        row.push_back(weight * (from[r][i] - plane.centre[i]));
      }
      rows.push_back(std::move(row));
      wanted.push_back(weight * side);
    }
  };
  take(shown, of_shown, 1);
  take(others, of_others, -1);
  const std::size_t n = rows.size();
  std::vector<double> products(n * n);
  double trace = 0;
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j <= i; ++j) {
      products[i * n + j] = dot(rows[i], rows[j]);
    }
    trace += products[i * n + i];
  }
  if (!(trace > 0)) {
    throw usage_error(
        "[tcav] the node answers to all pictures of concept and others alike: no direction tells "
        "them apart; name an earlier node");
  }
  for (std::size_t i = 0; i < n; ++i) products[i * n + i] += kRidge * trace / 2;
  const std::vector<double> weights = solve_symmetric(products, wanted);
  plane.normal.assign(plane.centre.size(), 0);
  for (std::size_t r = 0; r < n; ++r) {
    for (std::size_t i = 0; i < plane.normal.size(); ++i) {
      plane.normal[i] += weights[r] * rows[r][i];
    }
  }
  return plane;
}

// Every third row is held out.
std::vector<std::size_t> rows_of(std::size_t count, bool held_out) {
  std::vector<std::size_t> which;
  for (std::size_t i = 0; i < count; ++i) {
    if ((i % 3 == 2) == held_out) which.push_back(i);
  }
  return which;
}

std::vector<std::size_t> all_of(std::size_t count) {
  std::vector<std::size_t> which(count);
  for (std::size_t i = 0; i < count; ++i) which[i] = i;
  return which;
}

double variance(std::span<const double> v, double mean) {
  double sum = 0;
  for (double x : v) sum += (x - mean) * (x - mean);
  return sum / static_cast<double>(v.size() - 1);
}

double mean_of(std::span<const double> v) {
  double sum = 0;
  for (double x : v) sum += x;
  return sum / static_cast<double>(v.size());
}

}  // namespace

ConceptVector concept_vector(const Rows& shown, const Rows& others) {
  if (shown.size() < 3 || others.size() < 3) {
    throw usage_error("[tcav] {} pictures of the concept and {} others; each needs at least 3",
                      shown.size(), others.size());
  }
  for (const Rows* rows : {&shown, &others}) {
    for (const std::vector<float>& row : *rows) {
      if (row.size() != shown[0].size()) {
        throw usage_error("[tcav] rows of {} and {} elements; all must be of one node",
                          shown[0].size(), row.size());
      }
    }
  }
  const auto trial =
      fit(shown, rows_of(shown.size(), false), others, rows_of(others.size(), false));
  double right_shown = 0, right_others = 0;
  const auto out_shown = rows_of(shown.size(), true), out_others = rows_of(others.size(), true);
  for (std::size_t r : out_shown) right_shown += trial.shows(shown[r]) ? 1 : 0;
  for (std::size_t r : out_others) right_others += trial.shows(others[r]) ? 0 : 1;
  ConceptVector result;
  result.accuracy = (right_shown / static_cast<double>(out_shown.size()) +
                     right_others / static_cast<double>(out_others.size())) /
                    2;
  result.direction = fit(shown, all_of(shown.size()), others, all_of(others.size())).normal;
  const double length = std::sqrt(dot(result.direction, result.direction));
  for (double& v : result.direction) v /= length;
  return result;
}

TcavScore tcav(const ConceptVector& vector, const Rows& gradients) {
  if (gradients.empty()) throw usage_error("[tcav] no pictures of the class");
  TcavScore score;
  for (const std::vector<float>& gradient : gradients) {
    double along = 0;
    for (std::size_t i = 0; i < gradient.size(); ++i) along += gradient[i] * vector.direction[i];
    score.share += along > 0 ? 1 : 0;
    score.magnitude += along;
  }
  const auto count = static_cast<double>(gradients.size());
  score.share /= count;
  score.magnitude /= count;
  return score;
}

TTest t_test(std::span<const double> a, std::span<const double> b) {
  if (a.size() < 2 || b.size() < 2) {
    throw usage_error("[t-test] {} and {} values; each side needs at least two", a.size(),
                      b.size());
  }
  const double mean_a = mean_of(a), mean_b = mean_of(b);
  const double va = variance(a, mean_a) / static_cast<double>(a.size());
  const double vb = variance(b, mean_b) / static_cast<double>(b.size());
  TTest test;
  if (va + vb == 0) {
    test.p = mean_a == mean_b ? 1 : 0;
    test.t = mean_a == mean_b ? 0 : std::numeric_limits<double>::infinity();
    return test;
  }
  test.t = (mean_a - mean_b) / std::sqrt(va + vb);
  test.degrees =
      (va + vb) * (va + vb) /
      (va * va / static_cast<double>(a.size() - 1) + vb * vb / static_cast<double>(b.size() - 1));
  const boost::math::students_t distribution(test.degrees);
  test.p = 2 * boost::math::cdf(boost::math::complement(distribution, std::fabs(test.t)));
  return test;
}

}  // namespace tapescope::explain
