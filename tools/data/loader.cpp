#include "tools/data/loader.h"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <map>
#include <mutex>
#include <numeric>
#include <system_error>
#include <thread>

#include "autograd/program/share.h"
#include "engine/error.h"
#include "engine/philox.h"

namespace tapescope {

// Batches are numbered through all epochs: ticket = epoch * batches + number. Threads take tickets
// in turn, no further ahead of the consumer than `prefetch`, and put what they made under its
// ticket. A jump (start() elsewhere) begins a new generation; work of an old one is dropped.
struct Loader::State {
  std::shared_ptr<const SampleSource> source;
  LoaderOptions options;
  std::int64_t batches = 0;

  struct Made {
    Batch batch;
    std::exception_ptr error;
  };
  std::mutex mutex;
  std::condition_variable work;   // for the threads: a ticket may be taken, or stop
  std::condition_variable ready;  // for the consumer: something was made
  std::map<std::int64_t, Made> made;
  std::int64_t consumer = 0;   // the ticket next() will return
  std::int64_t next_free = 0;  // the ticket a thread will take
  std::int64_t epoch = 0;
  std::int64_t generation = 0;
  bool started = false;  // no work before the first start()
  bool failed = false;
  bool stop = false;

  std::mutex order_mutex;  // guards what follows
  std::int64_t orders_epoch[2] = {-1, -1};
  std::shared_ptr<const std::vector<std::int64_t>> orders[2];
  std::once_flag types_once;
  std::vector<std::pair<std::string, Type>> types;  // of one sample

  std::vector<std::thread> threads;

  std::shared_ptr<const std::vector<std::int64_t>> order_of(std::int64_t wanted) {
    const std::lock_guard lock(order_mutex);
    const auto slot = static_cast<std::size_t>(wanted % 2);
    if (orders_epoch[slot] == wanted) return orders[slot];
    auto order =
        std::make_shared<std::vector<std::int64_t>>(static_cast<std::size_t>(source->size()));
    std::iota(order->begin(), order->end(), 0);
    if (options.shuffle) {
      constexpr std::uint64_t kDomain = stable_hash("shuffle");
      PhiloxStream random(mix(mix(options.seed, kDomain), static_cast<std::uint64_t>(wanted)));
      for (std::size_t i = order->size(); i > 1; --i) {
        std::swap((*order)[i - 1], (*order)[random.below(static_cast<std::uint32_t>(i))]);
      }
    }
    orders_epoch[slot] = wanted;
    orders[slot] = order;
    return order;
  }

  Batch make(std::int64_t ticket) {
    std::call_once(types_once, [&] { types = source->types(); });
    const std::int64_t in_epoch = ticket / batches;
    const std::int64_t number = ticket % batches;
    const auto order = order_of(in_epoch);
    const std::int64_t first = number * options.batch_size;
    const std::int64_t all = std::min(options.batch_size, source->size() - first);
    const RowRange own = piece_of(all, options.rank, options.ranks);
    const std::int64_t begin = first + own.first, count = own.count;
    Batch batch;
    batch.first_row = own.first;
    batch.all_rows = all;
    batch.epoch = in_epoch;
    batch.number = number;
    batch.indices.assign(order->begin() + begin, order->begin() + begin + count);
    std::vector<void*> rows;
    std::vector<std::size_t> strides;  // bytes of a sample
    for (const auto& [name, type] : types) {
      batch.tensors.emplace_back(name, Tensor({type.dtype, type.shape.with_leading(count)},
                                              Device::cpu(), Purpose::data, "batch"));
      rows.push_back(batch.tensors.back().second.data());
      strides.push_back(type.bytes());
    }
    for (std::int64_t index : batch.indices) {
      source->load(index, {options.seed, in_epoch, index}, rows);
      for (std::size_t t = 0; t < rows.size(); ++t) {
        rows[t] = static_cast<char*>(rows[t]) + strides[t];
      }
    }
    return batch;
  }

  void end() {
    {
      const std::lock_guard lock(mutex);
      stop = true;
    }
    work.notify_all();
    for (std::thread& thread : threads) thread.join();
  }

  bool may_take() const {
    if (!started || failed || next_free >= consumer + options.prefetch) return false;
    return options.across_epochs || next_free < (epoch + 1) * batches;
  }

  void run() {
    std::unique_lock lock(mutex);
    while (true) {
      work.wait(lock, [&] { return stop || may_take(); });
      if (stop) return;
      const std::int64_t ticket = next_free++;
      const std::int64_t taken_in = generation;
      lock.unlock();
      Made result;
      try {
        result.batch = make(ticket);
      } catch (...) {
        result.error = std::current_exception();
      }
      lock.lock();
      if (taken_in != generation) continue;
      made.emplace(ticket, std::move(result));
      ready.notify_one();
    }
  }
};

const Tensor& Batch::operator[](std::string_view name) const {
  std::string known;
  for (const auto& [other, tensor] : tensors) {
    if (other == name) return tensor;
    known += (known.empty() ? "" : ", ") + other;
  }
  throw usage_error("the batch has no '{}'; it has {}", name, known);
}

Loader::Loader(std::shared_ptr<const Dataset> data, Pipeline pipeline, LoaderOptions options)
    : Loader(data == nullptr ? nullptr
                             : std::make_shared<ImageSource>(std::move(data), std::move(pipeline)),
             options) {}

Loader::Loader(std::shared_ptr<const SampleSource> source, LoaderOptions options)
    : state_(std::make_unique<State>()) {
  if (source == nullptr || source->size() == 0) {
    throw usage_error("the data set to load holds no samples; check the data folder and the split");
  }
  if (options.batch_size < 1) {
    throw usage_error("the batch size is {}; it is at least 1", options.batch_size);
  }
  if (options.threads < 0 || options.threads > 1024) {
    throw usage_error("{} loader threads were asked for; 0 (none) to 1024 are possible",
                      options.threads);
  }
  if (source->size() >= INT32_MAX) {
    throw usage_error("the data set has {} samples; up to {} are possible", source->size(),
                      INT32_MAX);
  }
  options.prefetch = std::max(options.prefetch, 1);
  const std::int64_t size = source->size();
  state_->batches = options.drop_last ? size / options.batch_size
                                      : (size + options.batch_size - 1) / options.batch_size;
  if (state_->batches == 0) {
    throw usage_error(
        "a batch of {} is more than the {} samples, and incomplete batches are left "
        "out; make the batch smaller",
        options.batch_size, size);
  }
  state_->source = std::move(source);
  state_->options = options;
  for (int i = 0; i < options.threads; ++i) {
    try {
      state_->threads.emplace_back([state = state_.get()] { state->run(); });
    } catch (const std::system_error& error) {
      state_->end();
      throw failure(
          "loader thread {} of {} cannot be started ({}); try a smaller --loader-threads, or raise "
          "the limits of processes and memory (ulimit -u, ulimit -v)",
          i + 1, options.threads, error.code().message());
    }
  }
}

Loader::~Loader() { state_->end(); }

std::int64_t Loader::batches() const { return state_->batches; }

std::int64_t Loader::samples() const {
  return std::min(state_->source->size(), state_->batches * state_->options.batch_size);
}

std::vector<std::int64_t> Loader::order(std::int64_t epoch) const {
  return *state_->order_of(epoch);
}

void Loader::start(std::int64_t epoch, std::int64_t batch) {
  State& state = *state_;
  if (epoch < 0 || batch < 0 || batch > state.batches) {
    throw usage_error(
        "batch {} of epoch {} does not exist; epochs count from 0 and have {} batches", batch,
        epoch, state.batches);
  }
  {
    const std::lock_guard lock(state.mutex);
    const std::int64_t ticket = epoch * state.batches + batch;
    if (ticket != state.consumer || state.failed || !state.started) {
      ++state.generation;
      state.made.clear();
      state.consumer = ticket;
      state.next_free = ticket;
      state.failed = false;
      state.started = true;
    }
    state.epoch = epoch;
  }
  state.work.notify_all();
}

bool Loader::next(Batch& batch) {
  State& state = *state_;
  std::unique_lock lock(state.mutex);
  if (!state.started)
    throw usage_error("Loader::next() before Loader::start(epoch); call start first");
  if (state.failed || state.consumer >= (state.epoch + 1) * state.batches) return false;
  if (state.threads.empty()) {
    const std::int64_t ticket = state.consumer++;
    state.next_free = state.consumer;
    try {
      batch = state.make(ticket);
    } catch (...) {
      state.failed = true;
      throw;
    }
    return true;
  }
  state.ready.wait(lock, [&] { return state.made.contains(state.consumer); });
  auto found = state.made.extract(state.consumer);
  ++state.consumer;
  if (found.mapped().error) {
    state.failed = true;
    const std::exception_ptr error = std::move(found.mapped().error);
    lock.unlock();
    std::rethrow_exception(error);
  }
  lock.unlock();
  state.work.notify_one();
  batch = std::move(found.mapped().batch);
  return true;
}

}  // namespace tapescope
