#include "autograd/explain/normal_equations.h"

#include <Eigen/Dense>

namespace tapescope::explain {

std::vector<double> solve_symmetric(std::span<const double> matrix, std::span<const double> right) {
  using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const auto n = static_cast<Eigen::Index>(right.size());
  // Pivots are taken by size, so that the last tells whether the matrix has an inverse.
  const Eigen::LDLT<Eigen::MatrixXd, Eigen::Lower> factors(
      Eigen::Map<const Matrix>(matrix.data(), n, n));
  const Eigen::VectorXd pivots = factors.vectorD();
  if (n > 0 && !(pivots.minCoeff() > 1e-10 * pivots.maxCoeff())) return {};
  std::vector<double> x(right.size());
  Eigen::Map<Eigen::VectorXd>(x.data(), n) =
      factors.solve(Eigen::Map<const Eigen::VectorXd>(right.data(), n));
  return x;
}

}  // namespace tapescope::explain
