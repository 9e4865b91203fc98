// The engine's own threads. All CPU work runs here.
#pragma once

#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>

namespace tapescope {

// A non-owning reference to a callable: two words, no allocation.
template <class Signature>
class FunctionRef;
template <class R, class... Args>
class FunctionRef<R(Args...)> {
 public:
  template <class F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, FunctionRef>)
      FunctionRef(F&& f)  // NOLINT: implicit on purpose, it is a parameter type
      : object_(const_cast<void*>(static_cast<const void*>(&f))),
        call_([](void* object, Args... args) -> R {
          return (*static_cast<std::remove_reference_t<F>*>(object))(std::forward<Args>(args)...);
        }) {}
  R operator()(Args... args) const { return call_(object_, std::forward<Args>(args)...); }

 private:
  void* object_;
  R (*call_)(void*, Args...);
};

// Runs `body(chunk)` for chunk in [0, chunks), each exactly once, on the pool's threads and the
// caller's. Threads take chunks as they become free, so one slow or descheduled core holds nobody
// up. How work is cut into chunks must depend on shapes only, never on the number of threads:
// that, and adding partial results in chunk order, is what makes --threads change no bit.
//
// A call from inside a chunk, or while another thread is using the pool, runs its chunks in turn
// on the calling thread. An exception thrown by a chunk is rethrown here after all have ended.
void parallel_for(std::int64_t chunks, FunctionRef<void(std::int64_t chunk)> body);

// parallel_for over [0, count) in ranges of `grain`: body(begin, end).
void parallel_ranges(std::int64_t count, std::int64_t grain,
                     FunctionRef<void(std::int64_t begin, std::int64_t end)> body);

// Number of threads that share parallel work, the caller included. Default: the processors this
// process may run on, or TAPESCOPE_THREADS.
int thread_count();
// Changes it; not to be called while parallel work is running. Throws a usage error below 1.
void set_thread_count(int count);

}  // namespace tapescope
