#include "tools/data/loader.h"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <map>
#include <mutex>
#include <numeric>
#include <thread>

#include "engine/error.h"
#include "engine/philox.h"

namespace tapescope {

// Batches are numbered through all epochs: ticket = epoch * batches + number. Threads take tickets
// in turn, no further ahead of the consumer than `prefetch`, and put what they made under its
// ticket. A jump (start() elsewhere) begins a new generation; work of an old one is dropped.
struct Loader::State {
  std::shared_ptr<const Dataset> data;
  Pipeline pipeline;
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
  std::mutex shape_mutex;
  Shape shape;
  bool shape_known = false;

  std::vector<std::thread> threads;

  std::shared_ptr<const std::vector<std::int64_t>> order_of(std::int64_t wanted) {
    const std::lock_guard lock(order_mutex);
    const auto slot = static_cast<std::size_t>(wanted % 2);
    if (orders_epoch[slot] == wanted) return orders[slot];
    auto order =
        std::make_shared<std::vector<std::int64_t>>(static_cast<std::size_t>(data->size()));
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

  Shape sample_shape() {
    const std::lock_guard lock(shape_mutex);
    if (!shape_known) {
      const ImageView image = data->image(0);
      shape = pipeline.output_shape(image.height, image.width, image.channels);
      shape_known = true;
    }
    return shape;
  }

  Batch make(std::int64_t ticket) {
    const std::int64_t in_epoch = ticket / batches;
    const std::int64_t number = ticket % batches;
    const auto order = order_of(in_epoch);
    const std::int64_t begin = number * options.batch_size;
    const std::int64_t count = std::min(options.batch_size, data->size() - begin);
    const Shape each = sample_shape();
    Batch batch;
    batch.epoch = in_epoch;
    batch.number = number;
    batch.indices.assign(order->begin() + begin, order->begin() + begin + count);
    batch.image =
        Tensor({DType::f32, each.with_leading(count)}, Device::cpu(), Purpose::data, "batch");
    batch.label = Tensor({DType::i64, {count}}, Device::cpu(), Purpose::data, "batch");
    float* row = batch.image.values<float>().data();  // f32 {N, H, W, C}
    const auto labels = batch.label.values<std::int64_t>();
    for (std::int64_t i = 0; i < count; ++i, row += each.elements()) {
      const std::int64_t index = batch.indices[static_cast<std::size_t>(i)];
      const ImageView image = data->image(index);
      const Shape found = pipeline.output_shape(image.height, image.width, image.channels);
      if (!(found == each)) {
        throw usage_error(
            "{}: gives a sample of {} where the first picture gave {}; resize the "
            "pictures to one size, for instance with --image-size",
            data->name(index), to_string(found), to_string(each));
      }
      pipeline.apply(image, {options.seed, in_epoch, index}, row);
      labels[static_cast<std::size_t>(i)] = data->label(index);
    }
    return batch;
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

Loader::Loader(std::shared_ptr<const Dataset> data, Pipeline pipeline, LoaderOptions options)
    : state_(std::make_unique<State>()) {
  if (data == nullptr || data->size() == 0) {
    throw usage_error("the data set to load holds no samples; check the data folder and the split");
  }
  if (options.batch_size < 1) {
    throw usage_error("the batch size is {}; it is at least 1", options.batch_size);
  }
  if (options.threads < 0 || options.threads > 1024) {
    throw usage_error("{} loader threads were asked for; 0 (none) to 1024 are possible",
                      options.threads);
  }
  if (data->size() >= INT32_MAX) {
    throw usage_error("the data set has {} samples; up to {} are possible", data->size(),
                      INT32_MAX);
  }
  options.prefetch = std::max(options.prefetch, 1);
  const std::int64_t size = data->size();
  state_->batches = options.drop_last ? size / options.batch_size
                                      : (size + options.batch_size - 1) / options.batch_size;
  if (state_->batches == 0) {
    throw usage_error(
        "a batch of {} is more than the {} samples, and incomplete batches are left "
        "out; make the batch smaller",
        options.batch_size, size);
  }
  state_->data = std::move(data);
  state_->pipeline = std::move(pipeline);
  state_->options = options;
  for (int i = 0; i < options.threads; ++i) {
    state_->threads.emplace_back([state = state_.get()] { state->run(); });
  }
}

Loader::~Loader() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stop = true;
  }
  state_->work.notify_all();
  for (std::thread& thread : state_->threads) thread.join();
}

std::int64_t Loader::batches() const { return state_->batches; }

std::int64_t Loader::samples() const {
  return std::min(state_->data->size(), state_->batches * state_->options.batch_size);
}

Shape Loader::sample_shape() const { return state_->sample_shape(); }

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
