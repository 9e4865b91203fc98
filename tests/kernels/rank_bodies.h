// What every rank of a test does. The tests run it as threads, and as processes of the test's own
// program, under our launcher's variables or under mpirun.
#pragma once

#include <sched.h>
#include <signal.h>
#include <sys/sysinfo.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "engine/error.h"
#include "engine/hash.h"
#include "engine/processors.h"
#include "kernels/collectives/communicator.h"
#include "kernels/collectives/rank_ended.h"

namespace tapescope {

inline void expect(bool holds, const std::string& what) {
  if (!holds) throw failure("expected: {}", what);
}

// Cheaper than mix() of three: millions of numbers are compared.
inline std::uint64_t bits_of(int rank, std::uint64_t call, std::uint64_t i) {
  std::uint64_t bits =
      i + static_cast<std::uint64_t>(rank) * 0xD1B54A32D192ED03ull + call * 0x8CB92BA72F3D8DD7ull;
  bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9ull;
  bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EBull;
  return bits ^ (bits >> 31);
}

// Of many magnitudes and both signs, so that nearly every order of additions has its own bits.
template <class T>
T number_of(int rank, std::int64_t i, std::uint64_t call) {
  const std::uint64_t bits = bits_of(rank, call, static_cast<std::uint64_t>(i));
  const T mantissa = static_cast<T>(static_cast<double>(bits >> 11) * 0x1p-53 - 0.5);
  return mantissa * static_cast<T>(1 << (bits & 7));
}

// The sum by definition: of ranks [first, first + ranks).
template <class T>
T tree(int first, int ranks, std::int64_t i, std::uint64_t call) {
  if (ranks == 1) return number_of<T>(first, i, call);
  return tree<T>(first, ranks / 2, i, call) + tree<T>(first + ranks / 2, ranks / 2, i, call);
}

template <class T>
bool same_bits(T a, T b) {
  return std::memcmp(&a, &b, sizeof a) == 0;
}

template <class T>
void check_sum(Communicator& ranks, std::int64_t count, std::uint64_t call) {
  std::vector<T> data(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) {
    data[static_cast<std::size_t>(i)] = number_of<T>(ranks.rank(), i, call);
  }
  ranks.all_reduce(data.data(), count, sizeof(T) == 4 ? DType::f32 : DType::f64);
  std::int64_t other = 0;  // elements that tell ((0 + 2) + (1 + 3)) from the tree
  for (std::int64_t i = 0; i < count; ++i) {
    const T sum = tree<T>(0, ranks.size(), i, call);
    if (!same_bits(sum, data[static_cast<std::size_t>(i)])) {
      throw failure("element {} of {} is {}, not {}", i, count, data[static_cast<std::size_t>(i)],
                    sum);
    }
    if (ranks.size() == 4) {
      const auto x = [&](int rank) { return number_of<T>(rank, i, call); };
      other += !same_bits(sum, (x(0) + x(2)) + (x(1) + x(3)));
    }
  }
  if (ranks.size() == 4 && count >= 1000) expect(other > count / 10, "an order that can be seen");
}

inline void check_gather(Communicator& ranks, std::span<const std::size_t> bytes,
                         std::uint64_t call) {
  const auto byte = [&](int rank, std::size_t i) {
    return static_cast<char>(bits_of(rank, call, i) >> 56);
  };
  std::vector<char> own(bytes[static_cast<std::size_t>(ranks.rank())]), expected;
  for (std::size_t i = 0; i < own.size(); ++i) own[i] = byte(ranks.rank(), i);
  for (int rank = 0; rank < ranks.size(); ++rank) {
    for (std::size_t i = 0; i < bytes[static_cast<std::size_t>(rank)]; ++i) {
      expected.push_back(byte(rank, i));
    }
  }
  std::vector<char> all(expected.size());
  ranks.all_gather(own.data(), bytes, all.data());
  expect(all == expected, "all_gather in the order of ranks");
}

inline void check_broadcast(Communicator& ranks, std::size_t bytes, int root, std::uint64_t call) {
  std::vector<char> data(bytes), expected(bytes);
  for (std::size_t i = 0; i < bytes; ++i)
    expected[i] = static_cast<char>(bits_of(7, call, i) >> 56);
  if (ranks.rank() == root) data = expected;
  ranks.broadcast(data.data(), bytes, root);
  expect(data == expected, "the root's bytes");
}

inline void all_sums(Communicator& ranks) {
  std::uint64_t call = 0;
  for (const std::int64_t count : {0, 1, 3, 1000, 3'000'000}) {
    check_sum<float>(ranks, count, ++call);
    check_sum<double>(ranks, count, ++call);
  }
}

// Sums that are under way while others are made.
inline void sums_under_way(Communicator& ranks) {
  std::uint64_t call = 100;
  for (const std::int64_t count : {1, 1000, 70'001}) {
    std::vector<float> sums[2];
    const auto check = [&](const std::vector<float>& sum, std::uint64_t of) {
      for (std::int64_t i = 0; i < count; ++i) {
        expect(same_bits(sum[static_cast<std::size_t>(i)], tree<float>(0, ranks.size(), i, of)),
               fmt::format("the tree's bits of sum {} at {} of {}", of, i, count));
      }
    };
    const std::uint64_t first = call;
    for (int k = 0; k < 7; ++k, ++call) {
      const auto place = static_cast<std::size_t>(k % 2);
      if (k >= 2) {
        ranks.finish_sum();
        check(sums[place], call - 2);
      }
      sums[place].clear();
      for (std::int64_t i = 0; i < count; ++i) {
        sums[place].push_back(number_of<float>(ranks.rank(), i, call));
      }
      ranks.begin_sum(sums[place].data(), count, DType::f32);
      ranks.advance();
      check_sum<double>(ranks, 33, call + 1000);
      if (k == 3) ranks.barrier();
    }
    for (std::uint64_t last : {first + 5, first + 6}) {
      ranks.finish_sum();
      check(sums[(last - first) % 2], last);
    }
  }
}

inline void all_gathers_and_broadcasts(Communicator& ranks) {
  const std::size_t lengths[] = {7, 0, 2'500'000, 1};
  for (int shift = 0; shift < 4; ++shift) {
    std::vector<std::size_t> bytes;
    for (int rank = 0; rank < ranks.size(); ++rank) bytes.push_back(lengths[(rank + shift) % 4]);
    check_gather(ranks, bytes, static_cast<std::uint64_t>(shift));
  }
  check_gather(ranks, std::vector<std::size_t>(static_cast<std::size_t>(ranks.size())), 9);
  for (int root = 0; root < ranks.size(); ++root) {
    for (const std::size_t bytes : {0, 5, 2'500'000}) {
      check_broadcast(ranks, bytes, root, static_cast<std::uint64_t>(root));
    }
  }
}

// Calls of all kinds and of small and middle sizes, the same on every rank.
inline void mixed_calls(Communicator& ranks, std::uint64_t calls) {
  for (std::uint64_t call = 0; call < calls; ++call) {
    const std::uint64_t draw = mix(call, 77);
    const std::size_t size = (draw >> 8) % (draw % 50 == 0 ? 400'000 : 3'000);
    const auto count = static_cast<std::int64_t>(size);
    switch (draw % 5) {
      case 0: {
        std::vector<std::size_t> bytes;
        for (int rank = 0; rank < ranks.size(); ++rank) {
          bytes.push_back(mix(draw, static_cast<std::uint64_t>(rank)) % (size + 1));
        }
        check_gather(ranks, bytes, call);
        break;
      }
      case 1:
        check_broadcast(ranks, size, static_cast<int>(draw >> 40) % ranks.size(), call);
        break;
      case 2:
        ranks.barrier();
        break;
      case 3:
        check_sum<double>(ranks, count, call);
        break;
      default:
        check_sum<float>(ranks, count, call);
    }
  }
}

inline void everything(Communicator& ranks) {
  all_sums(ranks);
  sums_under_way(ranks);
  all_gathers_and_broadcasts(ranks);
  mixed_calls(ranks, 1000);
  expect(ranks.seconds() > 0, "time that was counted");
}

// Ranks that share a machine and were not bound have processors of their own, where there are
// enough.
inline void check_processors(Communicator& ranks) {
  cpu_set_t own;
  CPU_ZERO(&own);
  for (const int cpu : allowed_processors()) CPU_SET(static_cast<std::size_t>(cpu), &own);
  cpu_set_t bound;
  expect(::sched_getaffinity(0, sizeof bound, &bound) == 0 && CPU_EQUAL(&own, &bound) != 0,
         "what is kept is what the process may run on");
  const auto size = static_cast<std::size_t>(ranks.size());
  std::vector<cpu_set_t> sets(size);
  ranks.all_gather(&own, std::vector<std::size_t>(size, sizeof own), sets.data());
  int most = 0;  // ranks on one processor
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    int users = 0;
    for (const cpu_set_t& set : sets) users += CPU_ISSET(static_cast<std::size_t>(cpu), &set) != 0;
    most = std::max(most, users);
  }
  const int there = ::get_nprocs();
  expect(most <= (ranks.size() + there - 1) / there || CPU_COUNT(&own) < there / ranks.size(),
         fmt::format("at most {} ranks a processor", most));
}

// Rank 1 stops itself at call 20; the others say so.
inline void one_stops(Communicator& ranks) {
  try {
    mixed_calls(ranks, 20);
    if (ranks.rank() == 1) ::raise(SIGSTOP);
    mixed_calls(ranks, 20);
  } catch (const RankEnded&) {
    throw;  // nobody has
  } catch (const Error& error) {
    const std::string text = error.what();
    // By MPI a rank knows its partner only, who may wait for another one.
    const char* const local[] = {"rank 1 (process ", "has said nothing for 3 s", " in call "};
    const char* const mpi[] = {" heard nothing from rank ", " for 3 s", " in call "};
    for (const char* part : ranks.transport() == "local" ? local : mpi) {
      expect(text.find(part) != text.npos, fmt::format("'{}' in: {}", part, text));
    }
    return;
  }
  throw failure("expected: the time-out");
}

// Rank 1 fails, or is killed, at call 20.
inline void one_fails(Communicator& ranks) {
  mixed_calls(ranks, 20);
  if (ranks.rank() == 1) throw failure("the disk of rank 1 is full");
  for (;;) mixed_calls(ranks, 20);
}
inline void one_is_killed(Communicator& ranks) {
  mixed_calls(ranks, 20);
  if (ranks.rank() == 1) ::raise(SIGKILL);
  for (;;) mixed_calls(ranks, 20);
}

// Calls that are not the same on all ranks.
inline void another_length(Communicator& ranks) {
  float numbers[3] = {};
  ranks.all_reduce(numbers, 2 + ranks.rank() % 2, DType::f32);
}

// Until another rank is killed, which is said by its number.
inline void until_one_ends(Communicator& ranks) {
  try {
    for (;;) mixed_calls(ranks, 100);
  } catch (const RankEnded& error) {
    const std::string text = error.what();
    for (const char* part : {"rank 1 (process ", "has ended", " in call "}) {
      expect(text.find(part) != text.npos, fmt::format("'{}' in: {}", part, text));
    }
    expect(error.rank == 1, "the rank that was killed");
  }
}

}  // namespace tapescope
