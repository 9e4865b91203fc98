#include "autograd/explain/path_methods.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "engine/error.h"
#include "engine/thread_pool.h"

namespace tapescope::explain {
namespace {

std::size_t row_length(const Tensor& tensor) {
  const std::int64_t rows = tensor.shape()[0];
  return rows > 0 ? static_cast<std::size_t>(tensor.elements() / rows) : 0;
}

// Row n of a tensor whose single row may stand for every sample.
std::span<const float> shared_row(const Tensor& tensor, std::size_t n, std::size_t length) {
  const auto values = tensor.values<float>();
  return values.size() == length ? values : values.subspan(n * length, length);
}

constexpr std::int64_t kRange = 1 << 13;  // elements that a thread sums at a time

// Calls read(k, gradient at point k) in order; `chunk` points share a run, and are made on all
// threads. Returns the gradient's type for N samples.
Type stream(const Gradients& gradients, const Tensor& x, int count, int chunk,
            const std::function<void(int point, std::span<float> out)>& make,
            const std::function<void(int point, std::span<const float> gradient)>& read) {
  const auto elements = static_cast<std::size_t>(x.elements());
  Type type = x.type();
  for (int begin = 0; begin < count; begin += chunk) {
    const int points = std::min(chunk, count - begin);
    Shape shape = x.shape();
    shape[0] = x.shape()[0] * points;
    Tensor rows(Type{DType::f32, shape});
    parallel_for(points, [&](std::int64_t m) {
      make(begin + static_cast<int>(m),
           rows.values<float>().subspan(static_cast<std::size_t>(m) * elements, elements));
    });
    const Tensor out = gradients(rows);
    type = out.type();
    type.shape[0] = x.shape()[0];
    const std::size_t each =
        static_cast<std::size_t>(out.elements()) / static_cast<std::size_t>(points);
    for (int m = 0; m < points; ++m) {
      read(begin + m, out.values<float>().subspan(static_cast<std::size_t>(m) * each, each));
    }
  }
  return type;
}

// out = from + t (to - from).
void point_between(const Tensor& from, const Tensor& to, float t, std::span<float> out) {
  const std::size_t length = row_length(to);
  for (std::size_t n = 0; n * length < out.size(); ++n) {
    const auto a = shared_row(from, n, length), b = shared_row(to, n, length);
    for (std::size_t i = 0; i < length; ++i) out[n * length + i] = a[i] + t * (b[i] - a[i]);
  }
}
// to - from, element by element.
std::vector<double> difference(const Tensor& to, const Tensor& from) {
  const std::size_t length = row_length(to);
  std::vector<double> result(to.values<float>().size());
  for (std::size_t n = 0; n * length < result.size(); ++n) {
    const auto a = shared_row(from, n, length), b = shared_row(to, n, length);
    for (std::size_t i = 0; i < length; ++i) {
      result[n * length + i] = static_cast<double>(b[i]) - a[i];
    }
  }
  return result;
}

// f32 {N}: the largest of error(i) over each sample's elements.
Tensor largest(const Tensor& map, const std::function<double(std::size_t)>& error) {
  Tensor result(Type{DType::f32, {map.shape()[0]}});
  const std::size_t length = row_length(map);
  for (std::size_t n = 0; n < result.values<float>().size(); ++n) {
    double worst = 0;
    for (std::size_t i = n * length; i < (n + 1) * length; ++i) {
      worst = larger_error(worst, error(i));
    }
    result.values<float>()[n] = static_cast<float>(worst);
  }
  return result;
}

// Nodes in [0, 1] and weights of the n-point Gauss-Legendre rule: roots of the Legendre polynomial
// by Newton's method from Tricomi's approximation.
std::vector<PathPoint> gauss_legendre(int n) {
  std::vector<PathPoint> points;
  for (int i = n; i >= 1; --i) {
    double root = std::cos(std::numbers::pi * (i - 0.25) / (n + 0.5));
    double slope = 1;
    for (int iteration = 0; iteration < 100; ++iteration) {
      double before = 1, value = root;  // P_0 and P_1
      for (int k = 2; k <= n; ++k) {
        const double next = ((2 * k - 1) * root * value - (k - 1) * before) / k;
        before = value;
        value = next;
      }
      slope = n * (root * value - before) / (root * root - 1);
      const double change = value / slope;
      root -= change;
      if (std::abs(change) < 1e-15) break;
    }
    points.push_back({(root + 1) / 2, 1 / ((1 - root * root) * slope * slope), 0});
  }
  return points;
}

// Mean and spread of a stream of samples, element by element (Welford 1962).
class Welford {
 public:
  // Takes value(i) for i < elements, on all threads.
  template <class F>
  void add(std::size_t elements, F&& value) {
    if (count_++ == 0) {
      mean_.assign(elements, 0.0);
      squares_.assign(elements, 0.0);
    }
    parallel_ranges(std::ssize(mean_), kRange, [&](std::int64_t begin, std::int64_t end) {
      for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
        const double v = value(i), difference = v - mean_[i];
        mean_[i] += difference / count_;
        squares_[i] += difference * (v - mean_[i]);
      }
    });
  }
  double mean(std::size_t i) const { return mean_[i]; }
  double variance(std::size_t i) const { return squares_[i] / count_; }  // biased
  double standard_error(std::size_t i) const {
    return count_ > 1 ? std::sqrt(squares_[i] / (count_ - 1.0) / count_) : kUnknown;
  }

 private:
  int count_ = 0;
  std::vector<double> mean_, squares_;
};

// The weighted sums of the gradients on the path, by the rule and by its coarser one.
struct PathMean {
  std::vector<double> fine, coarse;
  Type type;
};

PathMean path_mean(const Gradients& gradients, const Tensor& x, const Tensor& baseline,
                   const std::vector<PathPoint>& points, int chunk) {
  PathMean mean;
  mean.type = stream(
      gradients, x, static_cast<int>(points.size()), chunk,
      [&](int k, std::span<float> out) {
        const auto t = static_cast<float>(points[static_cast<std::size_t>(k)].position);
        point_between(baseline, x, t, out);
      },
      [&](int k, std::span<const float> gradient) {
        mean.fine.resize(gradient.size());
        mean.coarse.resize(gradient.size());
        const PathPoint& point = points[static_cast<std::size_t>(k)];
        parallel_ranges(std::ssize(gradient), kRange, [&](std::int64_t begin, std::int64_t end) {
          const auto add = [&](double weight, std::vector<double>& sum) {
            if (weight == 0) return;
            for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
              sum[i] += weight * gradient[i];
            }
          };
          add(point.weight, mean.fine);
          add(point.coarse_weight, mean.coarse);
        });
      });
  return mean;
}

// factor(i) times the mean at every element.
Estimate scaled(const PathMean& mean, int points,
                const std::function<double(std::size_t)>& factor) {
  Estimate result;
  result.points = points;
  result.map = Tensor(mean.type);
  for (std::size_t i = 0; i < mean.fine.size(); ++i) {
    result.map.values<float>()[i] = static_cast<float>(factor(i) * mean.fine[i]);
  }
  result.error = largest(result.map, [&](std::size_t i) {
    return std::abs(factor(i) * (mean.fine[i] - mean.coarse[i]));
  });
  return result;
}

}  // namespace

std::vector<PathPoint> quadrature(PathRule rule, int steps) {
  steps = std::max(steps, 3);
  std::vector<PathPoint> points;
  switch (rule) {
    case PathRule::midpoint: {
      // 3 (k + 1/2) = 3k + 1 + 1/2: the midpoints of thirds are among the midpoints.
      const int n = steps / 3 * 3;
      for (int k = 0; k < n; ++k) {
        points.push_back({(k + 0.5) / n, 1.0 / n, k % 3 == 1 ? 3.0 / n : 0});
      }
      return points;
    }
    case PathRule::trapezoid: {
      const int intervals = (steps - 1) / 2 * 2;
      for (int k = 0; k <= intervals; ++k) {
        const double share = k == 0 || k == intervals ? 0.5 : 1;
        points.push_back({static_cast<double>(k) / intervals, share / intervals,
                          k % 2 == 0 ? 2 * share / intervals : 0});
      }
      return points;
    }
    case PathRule::gauss_legendre:
      points = gauss_legendre(steps);
      for (PathPoint coarse : gauss_legendre(std::max(1, steps / 2))) {
        points.push_back({coarse.position, 0, coarse.weight});
      }
  }
  return points;
}

Estimate path_gradient(const Gradients& gradients, const Tensor& x, const Tensor& baseline,
                       const std::vector<PathPoint>& points, int chunk) {
  return scaled(path_mean(gradients, x, baseline, points, chunk), static_cast<int>(points.size()),
                [](std::size_t) { return 1.0; });
}

// x - x' times the mean.
static Estimate completed(const PathMean& mean, const Tensor& x, const Tensor& baseline,
                          std::size_t points) {
  const std::vector<double> change = difference(x, baseline);
  return scaled(mean, static_cast<int>(points), [&](std::size_t i) { return change[i]; });
}

Estimate integrated_gradients(const Gradients& gradients, const Tensor& x, const Tensor& baseline,
                              const std::vector<PathPoint>& points, int chunk) {
  return completed(path_mean(gradients, x, baseline, points, chunk), x, baseline, points.size());
}

Estimate integrated_gradients(const Gradients& gradients, const AffineStart& start, const Tensor& x,
                              const Tensor& baseline, const std::vector<PathPoint>& points,
                              int chunk) {
  PathMean mean = path_mean(gradients, start.at_x, start.at_baseline, points, chunk);
  for (std::vector<double>* sum : {&mean.fine, &mean.coarse}) {
    Tensor behind(mean.type);
    std::copy(sum->begin(), sum->end(), behind.values<float>().begin());
    const Tensor gradient = start.back(behind);
    sum->assign(gradient.values<float>().begin(), gradient.values<float>().end());
  }
  mean.type = x.type();
  return completed(mean, x, baseline, points.size());
}

Estimate conductance(const Gradients& gradients, const Gradients& values, const Tensor& x,
                     const Tensor& baseline, int steps) {
  const auto at = [&](double position) {
    Tensor point(x.type());
    point_between(baseline, x, static_cast<float>(position), point.values<float>());
    return point;
  };
  const int n = std::max(1, steps / 3) * 3;
  PathMean sum;
  Tensor before = values(at(0)), third_before = before, middle_gradient;
  sum.type = before.type();
  sum.fine.resize(static_cast<std::size_t>(before.elements()));
  sum.coarse.resize(sum.fine.size());
  const auto accumulate = [](std::vector<double>& into, const Tensor& gradient, const Tensor& from,
                             const Tensor& to) {
    for (std::size_t i = 0; i < into.size(); ++i) {
      into[i] += gradient.values<float>()[i] *
                 (static_cast<double>(to.values<float>()[i]) - from.values<float>()[i]);
    }
  };
  for (int k = 0; k < n; ++k) {
    const Tensor gradient = gradients(at((k + 0.5) / n));
    const Tensor after = values(at((k + 1.0) / n));
    accumulate(sum.fine, gradient, before, after);
    if (k % 3 == 1) middle_gradient = gradient;
    if (k % 3 == 2) {
      accumulate(sum.coarse, middle_gradient, third_before, after);
      third_before = after;
    }
    before = after;
  }
  return scaled(sum, n, [](std::size_t) { return 1.0; });
}

// Standard normal numbers by Box and Muller's transform, two of each pair of uniform ones.
static void fill_normal(PhiloxStream& random, std::span<float> out) {
  for (std::size_t i = 0; i < out.size(); i += 2) {
    const double radius = std::sqrt(-2.0 * std::log(1.0 - random.uniform_f64()));
    const double angle = 2.0 * std::numbers::pi * random.uniform_f64();
    out[i] = static_cast<float>(radius * std::cos(angle));
    if (i + 1 < out.size()) out[i + 1] = static_cast<float>(radius * std::sin(angle));
  }
}

Offset relative_noise(const Tensor& x, double level, std::uint64_t seed) {
  const std::size_t length = row_length(x);
  std::vector<float> deviation;  // by sample
  for (std::size_t n = 0; n < static_cast<std::size_t>(x.shape()[0]); ++n) {
    const auto row = x.values<float>().subspan(n * length, length);
    const auto [low, high] = std::minmax_element(row.begin(), row.end());
    deviation.push_back(length > 0 ? static_cast<float>(level * (*high - *low)) : 0);
  }
  return [type = x.type(), length, deviation, seed](int draw) {
    PhiloxStream random = stream_of_draw(seed, draw);
    std::vector<float> normal(length);
    fill_normal(random, normal);
    Tensor noise(type);
    float* to = noise.values<float>().data();
    for (const float scale : deviation) {
      for (const float v : normal) *to++ = scale * v;
    }
    return noise;
  };
}

Estimate noise_mean(const Gradients& gradients, const Tensor& x, const Offset& offset,
                    NoiseMean what, int draws, int chunk) {
  const std::size_t length = row_length(x);
  Welford statistics;
  const Type type = stream(
      gradients, x, draws, chunk,
      [&](int k, std::span<float> out) {
        const Tensor noise = offset(k);
        for (std::size_t n = 0; n * length < out.size(); ++n) {
          const auto row = shared_row(noise, n, length);
          for (std::size_t i = n * length; i < (n + 1) * length; ++i) {
            out[i] = x.values<float>()[i] + row[i - n * length];
          }
        }
      },
      [&](int, std::span<const float> gradient) {
        statistics.add(gradient.size(), [&](std::size_t i) {
          const double g = gradient[i];
          return what == NoiseMean::squared ? g * g : g;
        });
      });
  const bool variance = what == NoiseMean::variance;
  Estimate result;
  result.points = draws;
  result.map = Tensor(type);
  for (std::size_t i = 0; i < result.map.values<float>().size(); ++i) {
    result.map.values<float>()[i] =
        static_cast<float>(variance ? statistics.variance(i) : statistics.mean(i));
  }
  result.error = largest(result.map, [&](std::size_t i) {
    // Of a variance: as if the gradients were normal.
    if (!variance) return statistics.standard_error(i);
    return draws > 1 ? statistics.variance(i) * std::sqrt(2.0 / (draws - 1)) : kUnknown;
  });
  return result;
}

Estimate expected_gradients(const Gradients& gradients, const Tensor& x,
                            const std::vector<Tensor>& baselines, int draws, std::uint64_t seed,
                            int chunk) {
  const auto count = static_cast<int>(baselines.size());
  const int each = std::max(1, draws / count);
  const auto baseline_of = [&](int k) -> const Tensor& {
    return baselines[static_cast<std::size_t>(k % count)];
  };
  Welford statistics;
  const Type type = stream(
      gradients, x, each * count, chunk,
      [&](int k, std::span<float> out) {
        PhiloxStream random = stream_of_draw(seed, k);
        const auto t = static_cast<float>((k / count + random.uniform_f64()) / each);
        point_between(baseline_of(k), x, t, out);
      },
      [&](int k, std::span<const float> gradient) {
        const std::vector<double> change = difference(x, baseline_of(k));
        statistics.add(gradient.size(), [&](std::size_t i) { return change[i] * gradient[i]; });
      });
  Estimate result;
  result.points = each * count;
  result.map = Tensor(type);
  for (std::size_t i = 0; i < result.map.values<float>().size(); ++i) {
    result.map.values<float>()[i] = static_cast<float>(statistics.mean(i));
  }
  result.error = largest(result.map, [&](std::size_t i) { return statistics.standard_error(i); });
  return result;
}

}  // namespace tapescope::explain
