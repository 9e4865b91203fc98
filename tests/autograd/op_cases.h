// The samples of every op, filled in: what the tests of ops walk over.
#pragma once

#include <cmath>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "autograd/op.h"
#include "engine/philox.h"
#include "engine/tensor.h"

namespace tapescope {

inline Type with_batch(const OperandSpec& spec, std::int64_t rows) {
  Type type = spec.type;
  if (is_floating(type.dtype)) type.dtype = DType::f64;
  if (spec.batched && type.shape.rank() > 0 && type.shape[0] != 0 && rows >= 0) {
    type.shape[0] = rows;
  }
  return type;
}

// In f64. The first rows do not depend on how many there are, save for `distinct`.
inline Tensor fill(const OperandSpec& spec, std::int64_t rows, std::uint64_t seed) {
  const Type type = with_batch(spec, rows);
  Tensor tensor(type);
  PhiloxStream random(seed);
  const std::int64_t n = type.elements();
  std::vector<double> values(static_cast<std::size_t>(n));
  std::vector<double> ladder(static_cast<std::size_t>(std::max<std::int64_t>(n, 4096)));
  std::iota(ladder.begin(), ladder.end(), 0);
  if (spec.values == OperandSpec::Values::distinct) {
    for (std::size_t i = ladder.size() - 1; i > 0; --i) {
      std::swap(ladder[i], ladder[random.below(static_cast<std::uint32_t>(i + 1))]);
    }
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    switch (spec.values) {
      case OperandSpec::Values::positive:
        values[i] = 0.5 + 1.5 * random.uniform_f64();
        break;
      case OperandSpec::Values::unit:
        values[i] = 0.05 + 0.9 * random.uniform_f64();
        break;
      case OperandSpec::Values::away_from_zero:
      case OperandSpec::Values::far_from_zero: {
        const bool far = spec.values == OperandSpec::Values::far_from_zero;
        const double unit = random.uniform_f64();
        const double size = far ? 16 + 16 * unit : 0.2 + 1.3 * unit;
        values[i] = random.uniform_f64() < 0.5 ? -size : size;
        break;
      }
      case OperandSpec::Values::distinct:
        values[i] = 0.05 * ladder[i] - 100;
        break;
      case OperandSpec::Values::index:
        values[i] = static_cast<double>(spec.first) +
                    random.below(static_cast<std::uint32_t>(spec.bound - spec.first));
        break;
      case OperandSpec::Values::normal:
      case OperandSpec::Values::log_probability:
        values[i] = random.normal();
        break;
    }
  }
  if (spec.values == OperandSpec::Values::log_probability && n > 0) {
    const auto width = static_cast<std::size_t>(type.shape[type.shape.rank() - 1]);
    for (std::size_t r = 0; r < values.size(); r += width) {
      double total = 0;
      for (std::size_t c = 0; c < width; ++c) total += std::exp(values[r + c]);
      for (std::size_t c = 0; c < width; ++c) values[r + c] -= std::log(total);
    }
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    switch (type.dtype) {
      case DType::f64:
        tensor.values<double>()[i] = values[i];
        break;
      case DType::i64:
        tensor.values<std::int64_t>()[i] = static_cast<std::int64_t>(values[i]);
        break;
      case DType::u8:
        tensor.values<std::uint8_t>()[i] = static_cast<std::uint8_t>(values[i]);
        break;
      default:
        break;
    }
  }
  return tensor;
}

struct Case {
  Sample sample;
  std::vector<Tensor> operands;
};

// `rows` replaces the extent of batch axes, unless it is -1 or the sample's batch is empty.
inline std::vector<Case> cases(std::int64_t rows) {
  std::vector<Case> all;
  for (const OpEntry& entry : all_ops()) {
    for (Sample& sample : entry.samples()) {
      Case c{std::move(sample), {}};
      std::uint64_t seed = 1;
      for (const OperandSpec& spec : c.sample.operands)
        c.operands.push_back(fill(spec, rows, seed++));
      all.push_back(std::move(c));
    }
  }
  return all;
}

inline std::string label_of(const Case& c) {
  return fmt::format("{} ({})", describe(*c.sample.op), c.sample.label);
}

}  // namespace tapescope
