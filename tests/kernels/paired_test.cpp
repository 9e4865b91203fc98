// Sums by messages between pairs of ranks, which are threads here: bits, bytes and messages.
#include "kernels/collectives/paired.h"

#include <gtest/gtest.h>

#include <chrono>
#include <deque>
#include <map>
#include <mutex>
#include <thread>
#include <tuple>

#include "tests/kernels/rank_bodies.h"
#include "tests/kernels/rank_tests.h"
#include "tests/says.h"

namespace tapescope {
namespace {

struct Traffic {
  std::size_t bytes = 0, messages = 0;  // sent by one rank
};

// Where messages lie until they are fetched, and for `seconds` at least. Nothing is copied before:
// who writes into what is being sent changes what arrives.
class Post {
 public:
  using Clock = std::chrono::steady_clock;
  struct Message {
    const void* data;
    std::size_t bytes;
    Clock::time_point sent;
    bool fetched = false;
  };
  explicit Post(double seconds = 0) : on_the_way_(seconds) {}
  using Line = std::tuple<int, int, int>;  // from, to, lane
  std::shared_ptr<Message> send(const Line& line, const void* data, std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    Traffic& own = traffic_[std::get<0>(line)];
    own.bytes += bytes;
    ++own.messages;
    return lines_[line].emplace_back(std::make_shared<Message>(data, bytes, Clock::now()));
  }
  Heard fetch(const Line& line, void* to, std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    auto& messages = lines_[line];
    if (messages.empty()) return Heard::nothing;
    Message& first = *messages.front();
    if (Clock::now() - first.sent < on_the_way_) return Heard::nothing;
    if (first.bytes != bytes) return Heard::other_call;
    if (bytes > 0) std::memcpy(to, first.data, bytes);
    first.fetched = true;
    messages.pop_front();
    return Heard::yes;
  }
  bool is_fetched(const Message& message) {
    const std::lock_guard lock(mutex_);
    return message.fetched;
  }
  Traffic of(int rank) { return traffic_[rank]; }

 private:
  const std::chrono::duration<double> on_the_way_;
  std::mutex mutex_;
  std::map<Line, std::deque<std::shared_ptr<Message>>> lines_;
  std::map<int, Traffic> traffic_;
};

class ThreadLink final : public MessageLink {
 public:
  ThreadLink(Post& post, int rank, int size) : post_(post), rank_(rank), size_(size) {}
  int rank() const override { return rank_; }
  int size() const override { return size_; }
  void start(int lane, const Exchange& e) override {
    Lane& of = lanes_[lane];
    EXPECT_TRUE(of.sent == nullptr && !of.receives) << "an exchange before the last one is done";
    of.exchange = e;
    of.receives = e.from >= 0;
    if (e.to >= 0) of.sent = post_.send({rank_, e.to, lane}, e.sent, e.sent_bytes);
  }
  Heard test(int lane, std::string& why) override {
    Lane& of = lanes_[lane];
    const Exchange& e = of.exchange;
    if (of.receives) {
      const Heard heard = post_.fetch({e.from, rank_, lane}, e.received, e.received_bytes);
      why = "another length";
      if (heard != Heard::yes) return heard;
      of.receives = false;
    }
    if (of.sent != nullptr && !post_.is_fetched(*of.sent)) return Heard::nothing;
    of.sent = nullptr;
    return Heard::yes;
  }

 private:
  struct Lane {
    Exchange exchange;
    bool receives = false;
    std::shared_ptr<Post::Message> sent;
  };
  Post& post_;
  int rank_, size_;
  Lane lanes_[kLanes];
};

void on_threads(Post& post, int ranks, const std::function<void(Communicator&)>& body,
                double rank_timeout = 60) {
  std::vector<std::thread> threads;
  std::vector<std::string> wrong(static_cast<std::size_t>(ranks));
  for (int rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] {
      try {
        body(
            *make_paired("threads", std::make_unique<ThreadLink>(post, rank, ranks), rank_timeout));
      } catch (const std::exception& error) {
        wrong[static_cast<std::size_t>(rank)] = error.what();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& words : wrong) EXPECT_EQ(words, "");
}

TEST(Paired, EverythingByThreads) {
  for (const int ranks : {1, 2, 4, 8}) {
    Post post;
    on_threads(post, ranks, [](Communicator& own) {
      check_sum<float>(own, 3'000'001, 1);  // in pieces, and halves that are not equal
      check_sum<double>(own, 20'003, 2);
      for (const std::int64_t count : {0, 1, 3, 1000, 16'385}) check_sum<float>(own, count, 3);
      sums_under_way(own);
      mixed_calls(own, 200);
    });
  }
}

// Of a long vector twice its bytes, less what a rank keeps, whatever the number of ranks; a short
// one goes as it is, once a round.
TEST(Paired, WhatARankSends) {
  for (const int ranks : {2, 4, 8}) {
    int rounds = 0;
    while (1 << rounds < ranks) ++rounds;
    const auto sent = [&](std::int64_t count) {
      Post post;
      on_threads(post, ranks, [&](Communicator& own) { check_sum<float>(own, count, 1); });
      for (int rank = 1; rank < ranks; ++rank) {
        EXPECT_EQ(post.of(rank).bytes, post.of(0).bytes);
        EXPECT_EQ(post.of(rank).messages, post.of(0).messages);
      }
      return post.of(0);
    };
    constexpr std::size_t kLong = 1 << 20, kShort = 1024;
    const auto all = static_cast<std::size_t>(ranks), both = static_cast<std::size_t>(rounds);
    EXPECT_EQ(sent(kLong).bytes, 2 * (all - 1) * kLong * sizeof(float) / all) << ranks;
    EXPECT_EQ(sent(kLong).messages, 2 * both) << ranks;
    EXPECT_EQ(sent(kShort).bytes, both * kShort * sizeof(float)) << ranks;
    EXPECT_EQ(sent(kShort).messages, both) << ranks;
  }
}

// A sum that is under way goes on while its rank makes other calls: when it is finished there is
// nothing left to send.
TEST(Paired, OtherCallsDriveWhatIsUnderWay) {
  Post post;
  on_threads(post, 4, [&](Communicator& own) {
    std::vector<float> long_one(100'000, 1);
    own.begin_sum(long_one.data(), 100'000, DType::f32);
    for (int k = 0; k < 100; ++k) own.barrier();
    const std::size_t before = post.of(own.rank()).messages;
    own.barrier();
    own.finish_sum();
    expect(post.of(own.rank()).messages == before + 2, "two messages of a barrier and no more");
    expect(long_one[77'777] == 4, "the sum");
    own.barrier();
  });
}

TEST(Paired, WhoIsAtAnotherCallOrSilentIsToldApart) {
  Post first, second;
  on_threads(first, 2, [](Communicator& own) {
    float numbers[3] = {};
    const std::string text =
        message_of(Blame::failure, [&] { own.all_reduce(numbers, 2 + own.rank(), DType::f32); });
    expect(text.find("it is at another call: start all ranks") != text.npos, text);
  });
  on_threads(
      second, 2,
      [](Communicator& own) {
        if (own.rank() == 1) return;
        const std::string text = message_of(Blame::failure, [&] { own.barrier(); });
        expect(text.find("has heard nothing from rank 1 for 0.2 s") != text.npos, text);
      },
      0.2);
}

// Rank 0 has what rank 1 sends, and waits for rank 2.
TEST(Paired, WhoIsSilentLaterInASumIsNamed) {
  Post post;
  on_threads(
      post, 4,
      [](Communicator& own) {
        if (own.rank() == 2) return;
        float numbers[3] = {};
        const std::string text =
            message_of(Blame::failure, [&] { own.all_reduce(numbers, 3, DType::f32); });
        const std::string silent[] = {"rank 2", "rank 3", "", "rank 2"};
        const auto rank = static_cast<std::size_t>(own.rank());
        expect(text.find("heard nothing from " + silent[rank]) != text.npos, text);
      },
      1);
}

// Each message is in time, all of them together are not: nobody is silent.
TEST(Paired, ASlowSumIsNotSilence) {
  Post post(0.5);
  on_threads(
      post, 4, [](Communicator& own) { check_sum<float>(own, 100'000, 1); }, 1.5);
}

}  // namespace
}  // namespace tapescope
