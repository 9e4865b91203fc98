// For tests of the emulator's Hopper: every order of threads and landings, and what a launch says.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "engine/philox.h"
#include "kernels/common/hopper.h"
#include "tests/kernels/emulator_testing.h"

namespace tapescope::emulated {

class Hopper : public KeepsSchedule {
 protected:
  // In forward order, in reverse order, and in some shuffled ones.
  void in_all_orders(const std::function<void(bool late)>& f) {
    using emulator::Order;
    if (before_.kind != emulator::Schedule::Kind::fibers) return f(false);
    for (const Order order : {Order::forward, Order::reverse}) {
      SCOPED_TRACE(order == Order::forward ? "forward" : "reverse");
      emulator::set_schedule({before_.kind, order, 0});
      f(order == Order::forward);
    }
    for (std::uint64_t seed = 1; seed < 5; ++seed) {
      SCOPED_TRACE(seed);
      emulator::set_schedule({before_.kind, Order::shuffled, seed});
      f(false);
    }
  }
};

// Small whole numbers: every product and sum of them is exact.
inline std::vector<bf16> whole_numbers(std::size_t count, std::uint64_t seed) {
  PhiloxStream random(seed);
  std::vector<bf16> values(count);
  for (bf16& x : values) x = bf16(static_cast<float>(random.below(17)) - 8);
  return values;
}
inline float at(const std::vector<bf16>& values, int i) {
  return static_cast<float>(values[static_cast<std::size_t>(i)]);
}

}  // namespace tapescope::emulated
