// A ring of stages on the emulator's Hopper, right in every order; and each way to get it wrong is
// found by the check that is meant for it.
#include "tests/kernels/hopper_testing.h"

namespace tapescope::emulated {
namespace {

enum class Fault {
  none,
  wrong_phase,             // the consumer never turns its parity
  barriers_not_published,  // no fence between mbarrier_init and the first copy
  full_not_waited,
  refilled_early,    // the producer does not wait for empty
  released_early,    // the consumer tells empty before its wgmma is done
  not_committed,     // the wait finds nothing to wait for
  sums_read_early,   // no wgmma_wait before d is used
  no_wgmma_fence,    // between using d and the next wgmma
  other_descriptor,  // of one lane
  stride_of_512,     // in the descriptor
  leading_offset,    // of a K-major tile
  no_swizzle_in_descriptor,
  base_offset,
  unused_bit,
  no_swizzle_in_map,
  fewer_bytes_expected,
  more_bytes_expected,
  more_arrivals_expected,
  arrives_twice,
  never_waited,  // for the last copy
  unaligned_stage,
  barrier_not_initialised,
  part_of_a_warpgroup,
};
constexpr int kSteps = 5;

// One warpgroup produces, one consumes: c {64, 64} = a {64, 64 * kSteps} * b {64, 64 * kSteps}^T,
// twice, summed anew the second time.
template <Fault fault>
__global__ void ring(TensorMap a, TensorMap b, float* c) {
  TAPESCOPE_SWIZZLED_SHARED(shared);
  TAPESCOPE_SHARED(Mbarrier, full, [2]);
  TAPESCOPE_SHARED(Mbarrier, empty, [2]);
  unsigned char* const stages = shared + (fault == Fault::unaligned_stage ? 512 : 0);
  if (threadIdx.x == 0) {
    for (int s = 0; s < 2; ++s) {
      mbarrier_init(full + s, 1);
      if (fault != Fault::barrier_not_initialised) {
        mbarrier_init(empty + s, fault == Fault::more_arrivals_expected ? 5 : 4);
      }
    }
    if (fault != Fault::barriers_not_published) publish_barriers();
  }
  __syncthreads();
  if (threadIdx.x < 128) {
    if (threadIdx.x != 0) return;
    const int copies = 2 * kSteps + (fault == Fault::never_waited ? 1 : 0);
    for (int i = 0; i < copies; ++i) {
      const int s = i % 2;
      const unsigned round = static_cast<unsigned>(i / 2 % 2);
      if (fault != Fault::refilled_early) mbarrier_wait(empty + s, round ^ 1u);
      constexpr unsigned kBytes = fault == Fault::fewer_bytes_expected  ? 8192
                                  : fault == Fault::more_bytes_expected ? 16400
                                                                        : 16384;
      mbarrier_arrive_expect(full + s, kBytes);
      copy_tile(stages + s * 16384, a, full + s, i % kSteps * 64, 0);
      copy_tile(stages + s * 16384 + 8192, b, full + s, i % kSteps * 64, 0);
    }
    return;
  }
  if (fault == Fault::part_of_a_warpgroup && threadIdx.x >= 224) return;
  const bool tells = threadIdx.x % 32 == 0;
  float d[32];
  for (int i = 0; i < 2 * kSteps; ++i) {
    const int s = i % 2;
    const unsigned round = fault == Fault::wrong_phase ? 0u : static_cast<unsigned>(i / 2 % 2);
    if (fault != Fault::full_not_waited) mbarrier_wait(full + s, round);
    const unsigned from = shared_address(stages + s * 16384);
    std::uint64_t tile_a = matrix_descriptor<true>(from);
    const std::uint64_t tile_b = matrix_descriptor<true>(from + 8192);
    if (fault == Fault::other_descriptor && threadIdx.x == 200) tile_a += 2;
    if (fault == Fault::stride_of_512) tile_a -= std::uint64_t{32} << 32;
    if (fault == Fault::leading_offset) tile_a += std::uint64_t{63} << 16;
    if (fault == Fault::no_swizzle_in_descriptor) tile_a &= ~(std::uint64_t{3} << 62);
    if (fault == Fault::base_offset) tile_a |= std::uint64_t{1} << 49;
    if (fault == Fault::unused_bit) tile_a |= std::uint64_t{1} << 46;
    if (fault != Fault::no_wgmma_fence || i % kSteps == 0) wgmma_fence();
    for (unsigned k = 0; k < 4; ++k) {
      wgmma_bf16<64, false, false>(d, tile_a + 2 * k, tile_b + 2 * k, i % kSteps > 0 || k > 0);
    }
    if (fault != Fault::not_committed) wgmma_commit();
    if (fault == Fault::released_early && tells) mbarrier_arrive(empty + s);
    if (fault != Fault::sums_read_early || i + 1 < 2 * kSteps) wgmma_wait<0>();
    if (fault != Fault::released_early && tells) mbarrier_arrive(empty + s);
    if (fault == Fault::arrives_twice && tells) mbarrier_arrive(empty + s);
  }
  for (int i = 0; i < 32; ++i) {
    const int t = static_cast<int>(threadIdx.x % 128);
    const int row = t / 32 * 16 + t % 32 / 4 + i / 2 % 2 * 8,
              column = i / 4 * 8 + t % 4 * 2 + i % 2;
    c[row * 64 + column] = d[i];
  }
  if (fault == Fault::sums_read_early) wgmma_wait<0>();
}

// What a launch says, and how many results are wrong.
struct Outcome {
  std::string text;
  int wrong;
};
template <Fault fault>
Outcome run_ring() {
  const int depth = 64 * kSteps;
  const auto a = whole_numbers(static_cast<std::size_t>(64 * depth), 4),
             b = whole_numbers(static_cast<std::size_t>(64 * depth), 5);
  std::vector<float> c(64 * 64, -1);
  TensorView of_a = matrix_view(a.data(), 64, depth, 64);
  of_a.swizzled = fault != Fault::no_swizzle_in_map;
  Outcome outcome{message_of([&] {
                    launch_on_hopper<ring<fault>>(
                        kQueue, 1, 256, 2 * 16384 + 1024, tensor_map(of_a),
                        tensor_map(matrix_view(b.data(), 64, depth, 64)), c.data());
                  }),
                  0};
  for (int m = 0; m < 64; ++m) {
    for (int n = 0; n < 64; ++n) {
      float want = 0;
      for (int k = 0; k < depth; ++k) want += at(a, m * depth + k) * at(b, n * depth + k);
      outcome.wrong += c[static_cast<std::size_t>(m * 64 + n)] != want;
    }
  }
  return outcome;
}

using HopperRing = Hopper;
TEST_F(HopperRing, ARingOfStagesIsRightInEveryOrder) {
  in_all_orders([](bool) {
    const Outcome outcome = run_ring<Fault::none>();
    EXPECT_EQ(outcome.text, "");
    EXPECT_EQ(outcome.wrong, 0);
  });
}

TEST_F(HopperRing, ThreadsOfTheSystemRunARingToo) {
  emulator::set_schedule({emulator::Schedule::Kind::os_threads, emulator::Order::forward, 0});
  const Outcome outcome = run_ring<Fault::none>();
  EXPECT_EQ(outcome.text, "");
  EXPECT_EQ(outcome.wrong, 0);
}

class HopperFaults : public Hopper {
 protected:
  // In every order, with kernel and thread.
  template <Fault fault>
  void reported(const char* text) {
    in_all_orders([&](bool) {
      const Outcome outcome = run_ring<fault>();
      EXPECT_NE(outcome.text.find("[ring<"), std::string::npos) << outcome.text;
      EXPECT_NE(outcome.text.find(text), std::string::npos) << outcome.text;
    });
  }
  // Wrong results (or a report) where everything asked for happens as late as it may.
  template <Fault fault>
  void seen_late() {
    in_all_orders([&](bool late) {
      const Outcome outcome = run_ring<fault>();
      if (late) {
        EXPECT_TRUE(outcome.wrong > 0 || !outcome.text.empty());
      }
    });
  }
};

TEST_F(HopperFaults, OfPhases) {
  TAPESCOPE_NEEDS_FIBERS();
  reported<Fault::wrong_phase>("twice running: the parity is wrong");
  reported<Fault::more_arrivals_expected>("1 of 5 arrivals");
  reported<Fault::arrives_twice>("");  // too many arrivals, or a phase that ends early
  reported<Fault::barrier_not_initialised>("was not initialised");
}

TEST_F(HopperFaults, OfFences) {
  TAPESCOPE_NEEDS_FIBERS();
  reported<Fault::barriers_not_published>("publish_barriers() is missing");
  reported<Fault::no_wgmma_fence>("without a wgmma_fence");
}

TEST_F(HopperFaults, OfStages) {
  TAPESCOPE_NEEDS_FIBERS();
  seen_late<Fault::full_not_waited>();
  seen_late<Fault::released_early>();
  seen_late<Fault::refilled_early>();
  reported<Fault::unaligned_stage>("not aligned to 1024");
}

TEST_F(HopperFaults, OfBytes) {
  TAPESCOPE_NEEDS_FIBERS();
  reported<Fault::fewer_bytes_expected>("expects 0 more in this phase");
  reported<Fault::more_bytes_expected>("wants 0 of 1 arrivals and 16 bytes");
}

TEST_F(HopperFaults, OfWaits) {
  TAPESCOPE_NEEDS_FIBERS();
  in_all_orders([](bool) {
    const Outcome outcome = run_ring<Fault::sums_read_early>();
    EXPECT_EQ(outcome.wrong, 64 * 64);  // NaN, all of them
  });
  reported<Fault::not_committed>("before its wgmmas were committed and waited for");
  reported<Fault::part_of_a_warpgroup>("of the 128 threads of its warpgroup have come");
  in_all_orders([](bool late) {
    const std::string text = run_ring<Fault::never_waited>().text;
    if (late) {
      EXPECT_NE(text.find("still under way when the block ended"), std::string::npos) << text;
    }
  });
}

TEST_F(HopperFaults, OfDescriptorsAndSwizzles) {
  TAPESCOPE_NEEDS_FIBERS();
  reported<Fault::other_descriptor>("with different descriptors");
  reported<Fault::leading_offset>("leading offset, which is not used");
  reported<Fault::no_swizzle_in_descriptor>("does not say 128-byte swizzle");
  reported<Fault::base_offset>("has a base offset");
  reported<Fault::unused_bit>("has bits set that mean nothing");
  in_all_orders([](bool) {
    EXPECT_GT(run_ring<Fault::stride_of_512>().wrong, 64 * 32);
    EXPECT_GT(run_ring<Fault::no_swizzle_in_map>().wrong, 64 * 32);
  });
}

}  // namespace
}  // namespace tapescope::emulated
