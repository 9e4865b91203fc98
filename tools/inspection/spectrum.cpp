#include "tools/inspection/spectrum.h"

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace tapescope::inspection {

double effective_count(std::span<const double> weights) {
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  if (!(total > 0)) return 0;
  double entropy = 0;
  for (double weight : weights) {
    const double p = weight / total;
    if (p > 0) entropy -= p * std::log(p);
  }
  return std::exp(entropy);
}

PowerLaw power_law(std::vector<double> values) {
  constexpr std::size_t kFewest = 8;
  PowerLaw best;
  std::sort(values.begin(), values.end());
  if (values.size() < kFewest) return best;
  best.distance = std::numeric_limits<double>::infinity();
  // Sums of logarithms from the end, so that every start costs one pass for its distance only.
  std::vector<double> log_sum(values.size() + 1, 0);
  for (std::size_t i = values.size(); i-- > 0;) log_sum[i] = log_sum[i + 1] + std::log(values[i]);
  for (std::size_t first = 0; first + kFewest <= values.size(); ++first) {
    const auto n = static_cast<double>(values.size() - first);
    const double start = values[first];
    const double excess = log_sum[first] - n * std::log(start);
    if (!(excess > 0)) continue;
    const double alpha = 1 + n / excess;
    double distance = 0;
    for (std::size_t i = first; i < values.size(); ++i) {
      const double model = 1 - std::pow(values[i] / start, 1 - alpha);
      const auto below = static_cast<double>(i - first);
      distance =
          std::max({distance, std::abs(model - below / n), std::abs(model - (below + 1) / n)});
    }
    if (distance < best.distance) {
      best = {alpha, start, distance, static_cast<int>(values.size() - first)};
    }
  }
  return best;
}

Spectrum spectrum_of(std::span<const float> matrix, std::int64_t rows, std::int64_t columns) {
  using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  Spectrum spectrum;
  if (rows == 0 || columns == 0) return spectrum;
  const Eigen::MatrixXd w = Eigen::Map<const Matrix>(matrix.data(), rows, columns).cast<double>();
  if (!w.allFinite()) return spectrum;
  const Eigen::MatrixXd gram =
      rows <= columns ? Eigen::MatrixXd(w * w.transpose()) : Eigen::MatrixXd(w.transpose() * w);
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(gram, Eigen::EigenvaluesOnly);
  std::vector<double> eigenvalues(solver.eigenvalues().data(),
                                  solver.eigenvalues().data() + gram.rows());
  std::reverse(eigenvalues.begin(), eigenvalues.end());
  const double largest = eigenvalues[0];
  for (double& value : eigenvalues) {
    if (value < 1e-16 * largest) value = 0;
    spectrum.singular_values.push_back(std::sqrt(value));
  }
  spectrum.norm = spectrum.singular_values.front();
  if (!(largest > 0)) return spectrum;
  spectrum.stable_rank = std::accumulate(eigenvalues.begin(), eigenvalues.end(), 0.0) / largest;
  spectrum.effective_rank = effective_count(spectrum.singular_values);
  const double smallest = spectrum.singular_values.back();
  spectrum.condition =
      smallest > 0 ? spectrum.norm / smallest : std::numeric_limits<double>::infinity();
  std::erase_if(eigenvalues, [](double value) { return !(value > 0); });
  if (eigenvalues.size() >= kFewestEigenvalues) {
    const PowerLaw law = power_law(std::move(eigenvalues));
    spectrum.alpha = law.alpha;
    spectrum.tail_start = law.start;
    spectrum.tail_distance = law.distance;
    spectrum.tail_count = law.count;
  }
  return spectrum;
}

}  // namespace tapescope::inspection
