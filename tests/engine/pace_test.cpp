// How long a worker runs and rests on a processor that it shares.
#include "engine/pace.h"

#include <gtest/gtest.h>

namespace tapescope {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

TEST(Pace, WithoutNeighboursItNeverRests) {
  Pace pace;
  for (int i = 0; i < 100; ++i) EXPECT_EQ(pace.after(milliseconds(10 * i), false).count(), 0);
  EXPECT_FALSE(pace.limited());
  EXPECT_FALSE(pace.over(std::chrono::hours(1)));
}

TEST(Pace, OncePutAsideItStopsBeforeThatHappensAgain) {
  Pace pace;
  EXPECT_EQ(pace.after(milliseconds(3), true), microseconds(1500));  // half of what went well
  EXPECT_TRUE(pace.over(microseconds(1500)));
  EXPECT_FALSE(pace.over(microseconds(1499)));
  EXPECT_EQ(pace.after(milliseconds(1), false).count(), 0);
  EXPECT_EQ(pace.after(microseconds(1600), false), microseconds(1875));  // a quarter more
  EXPECT_EQ(pace.after(microseconds(700), true), microseconds(500));     // the shortest
}

// A machine that is left alone again is used again: no stretch has an end then.
TEST(Pace, ItForgets) {
  Pace pace;
  pace.after(milliseconds(2), true);
  Pace::Duration run{}, rested{};
  for (int i = 0; i < 1000 && pace.limited(); ++i) {
    run += milliseconds(1);
    const Pace::Duration rest = pace.after(run, false);
    if (rest.count() > 0) run = Pace::Duration(0);
    EXPECT_LE(rest, milliseconds(4));
    rested += rest;
  }
  for (int i = 0; i < 100000 && pace.limited(); ++i) pace.after(milliseconds(600), false);
  EXPECT_FALSE(pace.limited());
  EXPECT_GT(rested, milliseconds(1));
}

}  // namespace
}  // namespace tapescope
