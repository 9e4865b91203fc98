#include "tools/inspection/parameters.h"

#include <algorithm>
#include <cmath>

namespace tapescope::inspection {

Numbers numbers_of(std::span<const float> values) {
  Numbers n;
  n.count = static_cast<std::int64_t>(values.size());
  double sum = 0;
  std::int64_t finite = 0;
  for (float v : values) {
    if (std::isnan(v)) {
      ++n.nans;
      continue;
    }
    if (std::isinf(v)) {
      ++n.infinities;
      continue;
    }
    const double value = v;
    n.min = finite == 0 ? value : std::min(n.min, value);
    n.max = finite == 0 ? value : std::max(n.max, value);
    ++finite;
    n.zeros += value == 0;
    sum += value;
    n.l1 += std::abs(value);
    n.l2 += value * value;
  }
  n.l2 = std::sqrt(n.l2);
  n.linf = std::max(std::abs(n.min), std::abs(n.max));
  if (finite == 0) return n;
  n.mean = sum / static_cast<double>(finite);
  double squares = 0;  // a second pass: a difference of large sums would lose the digits
  for (float v : values) {
    if (std::isfinite(v)) squares += (v - n.mean) * (v - n.mean);
  }
  n.std = std::sqrt(squares / static_cast<double>(finite));
  return n;
}

namespace {

double dot(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

void compare(ParameterRow& row, std::span<const float> now, std::span<const float> before) {
  double difference = 0;
  for (std::size_t i = 0; i < now.size(); ++i) {
    const double d = static_cast<double>(now[i]) - before[i];
    difference += d * d;
  }
  const double norm = std::sqrt(dot(before, before));
  if (!(norm > 0) || !std::isfinite(difference)) return;
  row.compared = true;
  row.distance = std::sqrt(difference) / norm;
  row.cosine = row.numbers.l2 > 0 ? dot(now, before) / (norm * row.numbers.l2) : 0;
}

void look_at_channels(ParameterRow& row, std::span<const float> values) {
  constexpr double kSameDirection = 0.95, kNothing = 1e-3;
  const auto rows = static_cast<std::size_t>(row.shape[0]);
  const std::size_t columns = values.size() / std::max<std::size_t>(rows, 1);
  std::vector<double> norms;
  for (std::size_t c = 0; c < rows; ++c) {
    row.channels.push_back({numbers_of(values.subspan(c * columns, columns))});
    norms.push_back(row.channels.back().numbers.l2);
  }
  std::vector<double> sorted = norms;
  std::sort(sorted.begin(), sorted.end());
  const double median = sorted.empty() ? 0 : sorted[sorted.size() / 2];
  for (std::size_t c = 0; c < rows; ++c) {
    ChannelRow& channel = row.channels[c];
    channel.dead = norms[c] <= kNothing * median;
    row.dead += channel.dead;
    if (columns < 2 || channel.dead) continue;
    for (std::size_t other = 0; other < c && channel.near_duplicate < 0; ++other) {
      if (row.channels[other].dead) continue;
      const double cosine =
          dot(values.subspan(c * columns, columns), values.subspan(other * columns, columns)) /
          (norms[c] * norms[other]);
      if (cosine > kSameDirection) channel.near_duplicate = static_cast<int>(other);
    }
    row.near_duplicates += channel.near_duplicate >= 0;
  }
}

}  // namespace

std::vector<ParameterRow> parameters_of(std::span<const ParameterRef> parameters,
                                        std::span<const ParameterRef> initial) {
  std::vector<ParameterRow> rows;
  for (const ParameterRef& parameter : parameters) {
    if (parameter->value.dtype() != DType::f32) continue;  // counters
    const Tensor tensor = parameter->value.host();
    const std::span<const float> values = tensor.values<float>();
    ParameterRow row;
    row.name = parameter->name;
    row.shape = tensor.shape();
    row.kind = parameter->kind;
    row.frozen = parameter->frozen;
    row.numbers = numbers_of(values);
    row.histogram = histogram_of(values);
    for (const ParameterRef& before : initial) {
      if (before->name == parameter->name && before->value.type() == parameter->value.type()) {
        const Tensor old = before->value.host();
        compare(row, values, old.values<float>());
      }
    }
    row.is_matrix = row.kind == Parameter::Kind::weight && row.shape.rank() >= 2;
    if (row.is_matrix) {
      row.spectrum = spectrum_of(values, row.shape[0], tensor.elements() / row.shape[0]);
      look_at_channels(row, values);
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

std::string to_text(const std::vector<ParameterRow>& rows, bool channels) {
  std::size_t width = 9;
  for (const ParameterRow& row : rows) width = std::max(width, row.name.size());
  std::string text = fmt::format(
      "{:<{}}  {:<18} {:>9} {:>10} {:>9} {:>10} {:>10} {:>6} {:>7} {:>7} {:>8} {:>7} {:>7} {:>6} "
      "{:>5} {:>5}\n",
      "parameter", width, "shape", "count", "mean", "std", "min", "max", "zero%", "from W0",
      "cosine", "||W||2", "stable", "eff.rk", "alpha", "dead", "dupl.");
  for (const ParameterRow& row : rows) {
    const Numbers& n = row.numbers;
    text += fmt::format(
        "{:<{}}  {:<18} {:>9} {:>10.3g} {:>9.3g} {:>10.3g} {:>10.3g} {:>6.1f}", row.name, width,
        to_string(row.shape), n.count, n.mean, n.std, n.min, n.max,
        n.count > 0 ? 100.0 * static_cast<double>(n.zeros) / static_cast<double>(n.count) : 0.0);
    text += row.compared ? fmt::format(" {:>7.3g} {:>7.3f}", row.distance, row.cosine)
                         : fmt::format(" {:>7} {:>7}", "", "");
    if (row.is_matrix) {
      const Spectrum& s = row.spectrum;
      text += fmt::format(" {:>8.3g} {:>7.1f} {:>7.1f} {:>6} {:>5} {:>5}", s.norm, s.stable_rank,
                          s.effective_rank, s.alpha > 0 ? fmt::format("{:.2f}", s.alpha) : "",
                          row.dead, row.near_duplicates);
    }
    if (n.nans + n.infinities > 0) {
      text += fmt::format("  NOT FINITE: {} NaN, {} infinite", n.nans, n.infinities);
    }
    while (text.back() == ' ') text.pop_back();
    text += '\n';
    if (!channels) continue;
    for (std::size_t c = 0; c < row.channels.size(); ++c) {
      const ChannelRow& channel = row.channels[c];
      text += fmt::format(
          "{:<{}}  norm {:>9.4g}  mean {:>10.3g}  std {:>9.3g}{}{}\n", fmt::format("  [{}]", c),
          width, channel.numbers.l2, channel.numbers.mean, channel.numbers.std,
          channel.dead ? "  dead" : "",
          channel.near_duplicate >= 0 ? fmt::format("  like [{}]", channel.near_duplicate) : "");
    }
  }
  return text +
         "\nfrom W0: ||W - W0|| / ||W0||, and the cosine between the two. stable, eff.rk: stable "
         "and "
         "effective rank.\nalpha: exponent of the eigenvalues' tail, a heuristic (2 to 6 is "
         "usual), "
         "from 50 eigenvalues on.\n";
}

std::vector<Image> filter_pictures(const Parameter& parameter, int most) {
  const Tensor tensor = parameter.value.host();
  const Shape& s = tensor.shape();
  if (s.rank() != 4 || s[1] * s[2] < 2) return {};
  const std::span<const float> values = tensor.values<float>();
  const auto kh = static_cast<int>(s[1]), kw = static_cast<int>(s[2]);
  const auto inputs = static_cast<std::size_t>(s[3]);
  const std::size_t size = static_cast<std::size_t>(s[1] * s[2]) * inputs;
  std::vector<Image> pictures;
  for (std::int64_t o = 0; o < std::min<std::int64_t>(s[0], most); ++o) {
    const std::span<const float> filter = values.subspan(static_cast<std::size_t>(o) * size, size);
    float largest = 0;
    for (float v : filter) {
      if (std::isfinite(v)) largest = std::max(largest, std::abs(v));
    }
    Image picture(kh, kw, 3);
    for (std::size_t p = 0; p < static_cast<std::size_t>(kh) * static_cast<std::size_t>(kw); ++p) {
      for (std::size_t c = 0; c < 3; ++c) {
        const float v = filter[p * inputs + (inputs == 3 ? c : 0)];
        const float shade = largest > 0 && std::isfinite(v) ? 0.5f + 0.5f * v / largest : 0.5f;
        picture.pixels[p * 3 + c] = static_cast<std::uint8_t>(std::lround(255 * shade));
      }
    }
    pictures.push_back(std::move(picture));
  }
  return pictures;
}

}  // namespace tapescope::inspection
