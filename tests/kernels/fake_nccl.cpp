// A library with NCCL's functions over host memory: the ranks are threads of one process.
// tests/kernels/nccl_test.cpp opens it in place of NCCL.
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace {

struct Id {
  char bytes[128];
};
struct Comm {
  int rank;
  bool aborted = false;
};
struct World {
  std::mutex mutex;
  std::condition_variable changed;
  int ranks = 0, arrived = 0, round = 0;
  std::vector<const void*> in;
  std::map<std::pair<int, int>, std::deque<std::vector<char>>> mail;  // from, to

  // Calls `read` when all ranks have shown their data; returns when all have read. An error where
  // this rank's communicator was aborted meanwhile.
  template <class Read>
  int meet(Comm& comm, const void* own, Read read) {
    std::unique_lock lock(mutex);
    in.resize(static_cast<std::size_t>(ranks));
    in[static_cast<std::size_t>(comm.rank)] = own;
    if (!turn(lock, comm)) return 6;
    read(in);
    return turn(lock, comm) ? 0 : 6;
  }
  bool turn(std::unique_lock<std::mutex>& lock, Comm& comm) {
    const int now = round;
    if (++arrived == ranks) {
      arrived = 0;
      ++round;
      changed.notify_all();
    } else {
      changed.wait(lock, [&] { return round != now || comm.aborted; });
    }
    return !comm.aborted;
  }
};
struct Message {
  Comm* comm;
  int other;
  const void* sent;
  void* received;
  std::size_t bytes;
};
World world;
thread_local std::vector<Message> group;
std::string last;

constexpr std::size_t size_of_type(int type) { return type == 8 ? 8 : type == 7 ? 4 : 1; }

// From the last rank to the first: no order of ours.
template <class T>
void sum(const std::vector<const void*>& in, std::size_t count, std::vector<char>& out) {
  for (std::size_t i = 0; i < count; ++i) {
    T s = 0;
    for (std::size_t r = in.size(); r-- > 0;) s += static_cast<const T*>(in[r])[i];
    std::memcpy(out.data() + i * sizeof(T), &s, sizeof s);
  }
}

}  // namespace

extern "C" {

int ncclGetVersion(int* version) {
  *version = 22809;
  return 0;
}
int ncclGetUniqueId(Id* id) {
  const char* const at = std::getenv("NCCL_COMM_ID");
  std::strncpy(id->bytes, at != nullptr ? at : "an address", sizeof id->bytes);
  return 0;
}
// An id that names one GPU refuses more than one rank, as NCCL does.
int ncclCommInitRank(Comm** comm, int ranks, Id id, int rank) {
  if (std::string(id.bytes) == "one-gpu:1" && ranks > 1) {
    last = "Duplicate GPU detected : rank 0 and rank 1 both on CUDA device 1000";
    return 5;
  }
  if (id.bytes[0] == 0) return 4;
  {
    const std::lock_guard lock(world.mutex);
    world.ranks = ranks;
    world.mail.clear();
    world.arrived = 0;  // of a world before that one did not come to
  }
  *comm = new Comm{rank};
  return 0;
}
int ncclAllGather(const void* in, void* out, std::size_t count, int type, Comm* comm, void*) {
  const std::size_t bytes = count * size_of_type(type);
  return world.meet(*comm, in, [&](const auto& all) {
    for (std::size_t r = 0; r < all.size(); ++r) {
      char* const to = static_cast<char*>(out) + r * bytes;
      if (to != all[r]) std::memcpy(to, all[r], bytes);
    }
  });
}
int ncclAllReduce(const void* in, void* out, std::size_t count, int type, int, Comm* comm, void*) {
  std::vector<char> total(count * size_of_type(type));
  const int status = world.meet(*comm, in, [&](const auto& all) {
    type == 8 ? sum<double>(all, count, total) : sum<float>(all, count, total);
  });
  std::memcpy(out, total.data(), total.size());
  return status;
}
int ncclBroadcast(const void* in, void* out, std::size_t count, int type, int root, Comm* comm,
                  void*) {
  return world.meet(*comm, in, [&](const auto& all) {
    const void* const from = all[static_cast<std::size_t>(root)];
    if (out != from) std::memcpy(out, from, count * size_of_type(type));
  });
}
// Within a group only noted; at its end all are sent, and then all received.
int ncclGroupStart() {
  group.clear();
  return 0;
}
int ncclSend(const void* data, std::size_t count, int type, int to, Comm* comm, void*) {
  group.push_back({comm, to, data, nullptr, count * size_of_type(type)});
  return 0;
}
int ncclRecv(void* data, std::size_t count, int type, int from, Comm* comm, void*) {
  group.push_back({comm, from, nullptr, data, count * size_of_type(type)});
  return 0;
}
int ncclGroupEnd() {
  std::unique_lock lock(world.mutex);
  for (const Message& m : group) {
    if (m.sent == nullptr) continue;
    const char* const data = static_cast<const char*>(m.sent);
    world.mail[{m.comm->rank, m.other}].emplace_back(data, data + m.bytes);
  }
  world.changed.notify_all();
  for (const Message& m : group) {
    if (m.received == nullptr) continue;
    auto& mail = world.mail[{m.other, m.comm->rank}];
    world.changed.wait(lock, [&] { return !mail.empty() || m.comm->aborted; });
    if (m.comm->aborted) return 6;
    if (mail.front().size() != m.bytes) return 4;
    std::memcpy(m.received, mail.front().data(), m.bytes);
    mail.pop_front();
  }
  return 0;
}
int ncclCommDestroy(Comm* comm) {
  delete comm;
  return 0;
}
// From any thread; what a call still holds is left to it.
int ncclCommAbort(Comm* comm) {
  static std::vector<std::unique_ptr<Comm>> aborted;
  {
    const std::lock_guard lock(world.mutex);
    aborted.emplace_back(comm)->aborted = true;
    world.changed.notify_all();
  }
  // Kernels end first, and the calls that wait for them; abort itself returns much later.
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  return 0;
}
int ncclCommGetAsyncError(Comm*, int* status) {
  *status = std::getenv("FAKE_NCCL_LOST") != nullptr ? 6 : 0;
  return 0;
}
const char* ncclGetErrorString(int) { return "a fault"; }
const char* ncclGetLastError(Comm*) { return last.c_str(); }

}  // extern "C"
