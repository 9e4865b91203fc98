// What the singular values of a weight matrix say.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace tapescope::inspection {

struct Spectrum {
  std::vector<double> singular_values;  // falling
  double norm = 0;                      // the largest: how much the layer can stretch a vector
  double stable_rank = 0;               // ||W||_F^2 / ||W||_2^2 (Rudelson and Vershynin 2007)
  double effective_rank = 0;            // exp of the entropy of s / sum s (Roy and Vetterli 2007)
  double condition = 0;  // largest / smallest; infinite where the smallest is nothing
  // The power law's exponent that the tail of the eigenvalues of W^T W follows best (Clauset et al.
  // 2009; read as in Martin and Mahoney 2021), where it starts and how far off it is (Kolmogorov
  // and Smirnov's distance). A heuristic, and only from 50 eigenvalues on: elsewhere alpha is 0.
  double alpha = 0, tail_start = 0, tail_distance = 0;
  int tail_count = 0;
};

constexpr int kFewestEigenvalues = 50;

// matrix: {rows, columns}, row-major. Works on the smaller of the two Gram matrices in f64, so
// singular values below about 1e-8 of the largest are noise and taken as 0.
Spectrum spectrum_of(std::span<const float> matrix, std::int64_t rows, std::int64_t columns);

// The exponent by maximum likelihood over values >= start, for the start with the least distance.
// values: positive. At least 8 values stay in the tail.
struct PowerLaw {
  double alpha = 0, start = 0, distance = 0;
  int count = 0;
};
PowerLaw power_law(std::vector<double> values);

// exp(entropy) of weights >= 0: how many of them there are in effect.
double effective_count(std::span<const double> weights);

}  // namespace tapescope::inspection
