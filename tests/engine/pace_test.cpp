// How long a worker runs and rests on a processor that it shares.
#include "engine/pace.h"

#include <gtest/gtest.h>

namespace tapescope {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

// A worker whose stretches end one after the other, each 4 ms after the one before.
class Worker {
 public:
  Pace::Duration ends(Pace::Duration stretch, bool put_aside) {
    now_ += milliseconds(4);
    return pace.after(stretch, put_aside, now_);
  }
  // Put aside so often that there must be a neighbour; the last time after `stretch`.
  Pace::Duration has_a_neighbour(Pace::Duration stretch) {
    for (int i = 0; i < 15; ++i) EXPECT_EQ(ends(stretch, true).count(), 0);
    return ends(stretch, true);
  }
  void time_passes(Pace::Duration time) { now_ += time; }
  Pace pace;

 private:
  Pace::Time now_{};
};

TEST(Pace, WithoutNeighboursItNeverRests) {
  Worker worker;
  for (int i = 0; i < 100; ++i) EXPECT_EQ(worker.ends(milliseconds(10 * i), false).count(), 0);
  EXPECT_FALSE(worker.pace.limited());
  EXPECT_FALSE(worker.pace.over(std::chrono::hours(1)));
}

// A loader's thread has something to do once a batch, for some milliseconds.
TEST(Pace, WhatComesAndGoesIsNoNeighbour) {
  Worker worker;
  for (int batch = 0; batch < 100; ++batch) {
    for (int i = 0; i < 15; ++i) EXPECT_EQ(worker.ends(milliseconds(3), true).count(), 0);
    worker.time_passes(milliseconds(16));
  }
  EXPECT_FALSE(worker.pace.limited());
}

TEST(Pace, PutAsideOftenItStopsBeforeThatHappensAgain) {
  Worker worker;
  EXPECT_EQ(worker.has_a_neighbour(milliseconds(3)), microseconds(1500));  // half of what went well
  EXPECT_TRUE(worker.pace.over(microseconds(1500)));
  EXPECT_FALSE(worker.pace.over(microseconds(1499)));
  EXPECT_EQ(worker.ends(milliseconds(1), false).count(), 0);
  EXPECT_EQ(worker.ends(microseconds(1600), false), microseconds(1875));  // a quarter more
  worker.time_passes(milliseconds(100));  // it stays a neighbour while there are limits
  EXPECT_EQ(worker.ends(microseconds(700), true), microseconds(500));  // the shortest
}

// A machine that is left alone again is used again, soon: no stretch has an end then.
TEST(Pace, ItForgets) {
  Worker worker;
  Pace::Duration rested = worker.has_a_neighbour(milliseconds(1));
  EXPECT_EQ(rested, microseconds(500));
  int rests = 1;
  Pace::Duration run{};
  while (worker.pace.limited()) {
    run += microseconds(100);
    const Pace::Duration rest = worker.ends(run, false);
    if (rest.count() == 0) continue;
    EXPECT_LE(rest, milliseconds(4));
    run = {};
    rested += rest;
    ++rests;
  }
  EXPECT_GT(rests, 5);  // a quarter more each time, in case the neighbour is there still
  EXPECT_LT(rested, milliseconds(50));
}

}  // namespace
}  // namespace tapescope
