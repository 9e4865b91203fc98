// What the tests of explanations share.
#pragma once

#include <gtest/gtest.h>

#include <numeric>

#include "autograd/explain/composite.h"
#include "autograd/explain/target.h"
#include "autograd/tape.h"

namespace tapescope::explain {
inline Tensor f32(Shape shape, std::vector<float> values) {
  return Tensor::from<float>(shape, std::span<const float>(values));
}

inline std::vector<float> numbers(const Tensor& tensor) {
  const auto values = tensor.values<float>();
  return {values.begin(), values.end()};
}

inline double total(const Tensor& tensor) {
  double sum = 0;
  for (std::int64_t i = 0; i < tensor.elements(); ++i) sum += tensor.item(i);
  return sum;
}

inline void expect_near(const std::vector<float>& actual, const std::vector<float>& expected,
                        float tolerance) {
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t i = 0; i < actual.size(); ++i) {
    EXPECT_NEAR(actual[i], expected[i], tolerance) << "element " << i;
  }
}

inline Tensor counting_image() {  // 0..15 as a 4x4 picture of one channel
  std::vector<float> values(16);
  std::iota(values.begin(), values.end(), 0.0f);
  return f32({1, 4, 4, 1}, values);
}

inline Var class_of(Tape& tape, Var logits, std::int64_t index) {
  std::vector<std::int64_t> all(static_cast<std::size_t>(logits.shape()[0]), index);
  return class_logit(logits, tape.constant(Tensor::from<std::int64_t>(
                                 {logits.shape()[0]}, std::span<const std::int64_t>(all))));
}

// The rule for every node with weights, defaults elsewhere.
inline Composite only(Rule rule) {
  Composite composite("only " + rule.name);
  composite.on([](const Place& place) { return place.weighted; }, std::move(rule));
  return with_defaults(composite);
}

}  // namespace tapescope::explain
