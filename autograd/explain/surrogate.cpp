// KernelSHAP and LIME: an additive function of the features, fitted to scores of changed pictures.
#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "autograd/explain/normal_equations.h"
#include "autograd/explain/perturbation.h"
#include "engine/error.h"

namespace tapescope::explain {
namespace {

// Normal equations of a weighted least-squares fit with `unknowns` coefficients.
class Fit {
 public:
  explicit Fit(std::size_t unknowns)
      : n_(unknowns), matrix_(unknowns * unknowns), right_(unknowns) {}

  void add(const std::vector<double>& row, double value, double weight) {
    for (std::size_t i = 0; i < n_; ++i) {
      right_[i] += weight * row[i] * value;
      for (std::size_t j = 0; j <= i; ++j) matrix_[i * n_ + j] += weight * row[i] * row[j];
    }
  }
  void add_ridge(std::size_t coefficient, double strength) {
    matrix_[coefficient * n_ + coefficient] += strength;
  }
  // Empty where the rows do not determine the coefficients.
  std::vector<double> solve() const { return solve_symmetric(matrix_, right_); }

 private:
  std::size_t n_;
  std::vector<double> matrix_;  // {n,n}, the lower half
  std::vector<double> right_;   // {n}
};

Estimate empty_estimate(const Tensor& x, int points) {
  const Shape& s = x.shape();
  return {Tensor::zeros({DType::f32, {s[0], s[1], s[2], 1}}), Tensor::zeros({DType::f32, {s[0]}}),
          points};
}

// Which rows of a design a fit takes: the error comes from fits to every other pair.
enum class DesignRows : unsigned char { all, even_pairs, odd_pairs };
bool takes(DesignRows rows, std::size_t k) {
  return rows == DesignRows::all || (k / 2 % 2 == 0) == (rows == DesignRows::even_pairs);
}

// Sample n's values as a map: each position gets its feature's value over `parts` of the feature.
// The error is half of the largest difference between fits to every other pair; unknown where
// `halves_suffice` is false (a ridge would still give an answer) or one of them is not determined.
// False, and nothing written, where the values themselves are not.
using Fitted = std::function<std::vector<double>(DesignRows)>;
bool write_fit(Estimate& result, std::size_t n, const Fitted& fitted, const Segments& segments,
               const std::vector<double>& parts, bool drawn, bool halves_suffice) {
  const std::vector<double> values = fitted(DesignRows::all);
  if (values.empty()) return false;
  const std::size_t places = segments.id.size();
  for (std::size_t p = 0; p < places; ++p) {
    const auto feature = static_cast<std::size_t>(segments.id[p]);
    result.map.values<float>()[n * places + p] =
        static_cast<float>(values[feature] / parts[feature]);
  }
  if (!drawn) return true;
  std::vector<double> even, odd;
  if (halves_suffice) even = fitted(DesignRows::even_pairs);
  if (halves_suffice) odd = fitted(DesignRows::odd_pairs);
  double largest = even.empty() || odd.empty() ? kUnknown : 0;
  for (std::size_t i = 0; i < values.size() && !std::isnan(largest); ++i) {
    largest = larger_error(largest, std::fabs(even[i] - odd[i]) / 2 / parts[i]);
  }
  result.error.values<float>()[n] = static_cast<float>(largest);
  return true;
}

// A random subset of `size` features.
std::vector<bool> random_coalition(PhiloxStream& random, std::size_t features, std::size_t size) {
  std::vector<std::size_t> order(features);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::vector<bool> kept(features);
  for (std::size_t i = 0; i < size; ++i) {
    const std::size_t j = i + random.below(static_cast<std::uint32_t>(features - i));
    std::swap(order[i], order[j]);
    kept[order[i]] = true;
  }
  return kept;
}

}  // namespace

Estimate kernel_shap(const Scores& scores, const Tensor& x, const Tensor& baseline,
                     const Segments& segments, double forwards, std::uint64_t seed, int chunk) {
  const auto n = static_cast<std::size_t>(segments.count);
  const auto samples = static_cast<std::size_t>(x.shape()[0]);
  // Rows 0 and 1 are the empty and the full coalition, which the fit meets exactly.
  Coalitions coalitions{std::vector<bool>(n, false), std::vector<bool>(n, true)};
  std::vector<double> weight(2, 0.0);
  const bool all = n <= 20 && std::ldexp(1.0, segments.count) <= std::max(4.0, forwards);
  if (all) {
    // (n-1) / (C(n,s) s (n-s))
    for (std::size_t bits = 1; bits + 1 < (std::size_t{1} << n); ++bits) {
      std::vector<bool> kept(n);
      double size = 0;
      for (std::size_t i = 0; i < n; ++i) {
        kept[i] = (bits >> i & 1) != 0;
        size += kept[i] ? 1 : 0;
      }
      const double total = static_cast<double>(n);
      const double choose =
          std::exp(std::lgamma(total + 1) - std::lgamma(size + 1) - std::lgamma(total - size + 1));
      coalitions.push_back(kept);
      weight.push_back((total - 1) / (choose * size * (total - size)));
    }
  } else {
    const auto pairs = static_cast<std::size_t>(std::max(0.0, (forwards - 2) / 2));
    if (pairs < n) {
      throw usage_error(
          "[kernel-shap] {} features need at least {} forward passes, {:.0f} may be spent; raise "
          "--budget or take fewer features",
          n, 2 * n + 2, forwards);
    }
    PhiloxStream random(seed);
    std::vector<double> up_to(n);  // sizes 1..n-1 by 1 / (s (n-s)), added up
    for (std::size_t s = 1; s < n; ++s) {
      up_to[s] = up_to[s - 1] + 1.0 / (static_cast<double>(s) * static_cast<double>(n - s));
    }
    for (std::size_t k = 0; k < pairs; ++k) {
      const double at = random.uniform_f64() * up_to[n - 1];
      std::size_t size = 1;
      while (size + 1 < n && up_to[size] < at) ++size;
      std::vector<bool> kept = random_coalition(random, n, size);
      coalitions.push_back(kept);
      kept.flip();
      coalitions.push_back(kept);
    }
    weight.resize(coalitions.size(), 1.0);
  }
  const std::vector<double> score =
      score_coalitions(scores, x, baseline, segments, coalitions, chunk);
  Estimate result = empty_estimate(x, static_cast<int>(coalitions.size()));
  for (std::size_t sample = 0; sample < samples; ++sample) {
    const double nothing = score[sample], change = score[samples + sample] - nothing;
    // The last feature's value is what the others leave of the change.
    const auto fitted = [&](DesignRows rows) -> std::vector<double> {
      if (n == 1) return {change};
      Fit fit(n - 1);
      std::vector<double> row(n - 1);
      for (std::size_t k = 2; k < coalitions.size(); ++k) {
        if (!takes(rows, k)) continue;
        const double last = coalitions[k][n - 1] ? 1 : 0;
        for (std::size_t i = 0; i + 1 < n; ++i) row[i] = (coalitions[k][i] ? 1 : 0) - last;
        fit.add(row, score[k * samples + sample] - nothing - last * change, weight[k]);
      }
      std::vector<double> values = fit.solve();
      if (values.empty()) return {};
      values.push_back(change - std::accumulate(values.begin(), values.end(), 0.0));
      return values;
    };
    // A coalition and its complement are one equation.
    const bool halves_suffice = (coalitions.size() - 2) / 4 + 1 >= n;
    if (!write_fit(result, sample, fitted, segments, segments.sizes(), !all, halves_suffice)) {
      throw failure("[kernel-shap] {} coalitions do not determine {} features; raise --budget",
                    coalitions.size(), n);
    }
  }
  return result;
}

Estimate lime(const Scores& scores, const Tensor& x, const Tensor& baseline,
              const Segments& segments, const LimeOptions& options, int chunk) {
  const auto n = static_cast<std::size_t>(segments.count);
  const auto samples = static_cast<std::size_t>(x.shape()[0]);
  const auto draws = static_cast<std::size_t>(std::max(4.0, options.forwards));
  PhiloxStream random(options.seed);
  Coalitions coalitions{std::vector<bool>(n, true)};  // the picture itself, as the authors do
  while (coalitions.size() < draws) {
    std::vector<bool> kept(n);
    for (std::size_t i = 0; i < n; ++i) kept[i] = random.below(2) == 1;
    coalitions.push_back(kept);
  }
  const std::vector<double> score =
      score_coalitions(scores, x, baseline, segments, coalitions, chunk);
  Estimate result = empty_estimate(x, static_cast<int>(coalitions.size()));
  const std::vector<double> whole(n, 1.0);  // a coefficient stands at each position
  for (std::size_t sample = 0; sample < samples; ++sample) {
    const auto fitted = [&](DesignRows rows) {
      Fit fit(n + 1);  // the last coefficient is the constant, which has no ridge
      std::vector<double> row(n + 1, 1.0);
      for (std::size_t k = 0; k < coalitions.size(); ++k) {
        if (!takes(rows, k)) continue;
        double kept = 0;
        for (std::size_t i = 0; i < n; ++i) {
          row[i] = coalitions[k][i] ? 1 : 0;
          kept += row[i];
        }
        const double distance = 1 - std::sqrt(kept / static_cast<double>(n));
        const double weight = std::exp(-distance * distance / (options.width * options.width));
        fit.add(row, score[k * samples + sample], weight);
      }
      for (std::size_t i = 0; i < n; ++i) fit.add_ridge(i, options.ridge);
      std::vector<double> values = fit.solve();
      if (!values.empty()) values.pop_back();
      return values;
    };
    const bool halves_suffice = coalitions.size() / 2 > n;
    if (!write_fit(result, sample, fitted, segments, whole, true, halves_suffice)) {
      throw usage_error("[lime] {} draws do not determine {} features; raise --budget or the ridge",
                        coalitions.size(), n);
    }
  }
  return result;
}

}  // namespace tapescope::explain
