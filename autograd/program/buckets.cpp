#include "autograd/program/buckets.h"

#include <algorithm>
#include <cstring>

#include "autograd/ops/fused.h"
#include "engine/runtime.h"
#include "kernels/collectives/all_reduce.h"

namespace tapescope {
namespace {

// What lies in a bucket, and where.
struct BucketLayout {
  DType dtype = DType::f32;
  std::vector<std::size_t> offsets, sizes;  // bytes
  std::size_t bytes = 0;

  void add(std::size_t size) {
    constexpr std::size_t kAlignment = 256;  // of a value, for kernels
    offsets.push_back(bytes);
    sizes.push_back(size);
    bytes += (size + kAlignment - 1) / kAlignment * kAlignment;
  }
  std::int64_t elements() const { return static_cast<std::int64_t>(bytes / size_of(dtype)); }
  Type type() const { return {dtype, {elements()}}; }
};
using BucketLayoutRef = std::shared_ptr<const BucketLayout>;

// Facts of steps that a Program alone has: put in the place of an op when all gradients are
// recorded.
class BucketOp : public PlacedOp {
 public:
  BucketOp(Communicator& ranks, BucketLayoutRef layout)
      : ranks_(ranks), layout_(std::move(layout)) {}
  void attributes(AttributeVisitor& v) const override {
    v.visit("ranks", std::int64_t{ranks_.size()});
    v.visit("sums", static_cast<std::int64_t>(layout_->sizes.size()));
  }
  void vjp(Vjp&) const override {}
  Role role(int) const override { return Role::signal; }
  RelevanceClass relevance_class(unsigned) const override { return RelevanceClass::stop; }
  Cost cost(std::span<const Type> t, std::span<const Type> outputs) const override {
    return memory_cost(t, outputs, 1);
  }
  Footprint footprint() const override { return {}; }
  bool gathers() const override { return false; }
  std::span<const std::size_t> offsets() const override { return {}; }

 protected:
  Communicator& ranks_;
  BucketLayoutRef layout_;
};

// x1, x2 .. -> {all of them as one vector, room}: their sum over ranks is under way.
class BeginSum final : public BucketOp {
 public:
  BeginSum(Communicator& ranks, BucketLayoutRef layout, std::size_t room)
      : BucketOp(ranks, std::move(layout)), room_(room) {}
  std::string_view name() const override { return "all_reduce_begin"; }
  Types infer(std::span<const Type>) const override {
    return {layout_->type(), {DType::u8, {static_cast<std::int64_t>(room_)}}};
  }
  Plan prepare(std::span<const Type>, std::span<const Type>,
               const Backend& backend) const override {
    DeviceRuntime& runtime = DeviceRuntime::of(backend.device);
    auto begin = std::make_shared<Plan>(
        all_reduce_in_two_steps(ranks_, layout_->elements(), layout_->dtype, backend.device).begin);
    const std::string_view variant = begin->variant();
    return Plan(variant, 0,
                [layout = layout_, begin = std::move(begin), &runtime](const Queue& queue,
                                                                       const Buffers& b) {
                  fill_gaps(*layout, static_cast<char*>(b.out[0]), runtime, queue);
                  begin->run(queue, b);
                });
  }
  bool gathers() const override { return true; }
  std::span<const std::size_t> offsets() const override { return layout_->offsets; }

 private:
  // Numbers, too: nothing that lay there before.
  static void fill_gaps(const BucketLayout& layout, char* bucket, DeviceRuntime& runtime,
                        const Queue& queue) {
    for (std::size_t k = 0; k < layout.sizes.size(); ++k) {
      const std::size_t begin = layout.offsets[k] + layout.sizes[k],
                        end = k + 1 < layout.sizes.size() ? layout.offsets[k + 1] : layout.bytes;
      if (end > begin) runtime.fill_zero(bucket + begin, end - begin, queue);
    }
  }
  std::size_t room_;
};

// {the vector, room} -> its sum over all ranks.
class EndSum final : public BucketOp {
 public:
  using BucketOp::BucketOp;
  std::string_view name() const override { return "all_reduce_end"; }
  Types infer(std::span<const Type>) const override { return {layout_->type()}; }
  Plan prepare(std::span<const Type>, std::span<const Type>,
               const Backend& backend) const override {
    return all_reduce_in_two_steps(ranks_, layout_->elements(), layout_->dtype, backend.device).end;
  }
  bool may_overwrite(int operand, int) const override { return operand == 0; }
};

// The sum -> the part of it that is of operand k.
class PartOfSum final : public BucketOp {
 public:
  PartOfSum(Communicator& ranks, BucketLayoutRef layout, std::size_t k, Type type)
      : BucketOp(ranks, std::move(layout)), k_(k), type_(std::move(type)) {}
  std::string_view name() const override { return "all_reduce_part"; }
  void attributes(AttributeVisitor& v) const override {
    BucketOp::attributes(v);
    v.visit("part", static_cast<std::int64_t>(k_));
  }
  Types infer(std::span<const Type>) const override { return {type_}; }
  Plan prepare(std::span<const Type>, std::span<const Type>, const Backend&) const override {
    return Plan();
  }
  int alias() const override { return 0; }
  Cost cost(std::span<const Type>, std::span<const Type>) const override { return {}; }
  std::span<const std::size_t> offsets() const override {
    return std::span(layout_->offsets).subspan(k_, 1);
  }

 private:
  std::size_t k_;
  Type type_;
};

struct Bucket {
  std::vector<int> sums;  // all_reduce steps, in order
  BucketLayout layout;
  int own = -1, room = -1;  // what begin() makes
};

class Bucketing {
 public:
  Bucketing(LoweredProgram& program, Communicator& ranks, const std::vector<bool>& split,
            std::size_t bytes, Device device)
      : program_(program), ranks_(ranks), most_bytes_(bytes), device_(device) {
    find_urgent(split);
    fill();
  }

  void place() {
    std::vector<Step> steps = std::exchange(program_.steps, {});
    for (int s = 0; s < std::ssize(steps); ++s) {
      Step& step = steps[at(s)];
      const int own = bucket_of_[at(step.outputs[0])];
      if (late_[at(s)]) continue;
      if (own < 0) {
        program_.append(std::move(step));
      } else if (s == buckets_[at(own)].sums.back()) {
        if (begun_ - ended_ == Communicator::kSumsUnderWay) end(steps);
        begin(steps);
      }
    }
    for (int s = 0; s < std::ssize(steps); ++s) {
      if (!late_[at(s)]) continue;
      for (int operand : steps[at(s)].operands) {
        while (ended_ <= bucket_of_[at(operand)]) end(steps);
      }
      program_.append(std::move(steps[at(s)]));
    }
    while (ended_ < begun_) end(steps);
  }

 private:
  static std::size_t at(int i) { return static_cast<std::size_t>(i); }

  // What rows depend on, and the guard.
  void find_urgent(const std::vector<bool>& split) {
    urgent_ = split;
    if (program_.guard >= 0) urgent_[at(program_.guard)] = true;
    for (auto step = program_.steps.rbegin(); step != program_.steps.rend(); ++step) {
      const bool is_urgent = std::any_of(step->outputs.begin(), step->outputs.end(),
                                         [&](int v) { return bool{urgent_[at(v)]}; });
      if (!is_urgent) continue;
      for (int operand : step->operands) urgent_[at(operand)] = true;
    }
  }

  // Gives sums to buckets, a full one being followed by another, and finds what depends on them.
  void fill() {
    bucket_of_.assign(program_.values.size(), -1);
    std::vector<bool> late(program_.values.size(), false);  // by value
    for (int s = 0; s < std::ssize(program_.steps); ++s) {
      const Step& step = program_.steps[at(s)];
      const std::vector<int>& in = step.operands;
      late_.push_back(std::any_of(in.begin(), in.end(),
                                  [&](int v) { return late[at(v)] || bucket_of_[at(v)] >= 0; }));
      for (int output : step.outputs) late[at(output)] = late_.back();
      const int sum = step.outputs[0];
      if (step.op->name() != "all_reduce" || urgent_[at(sum)] || late_.back()) continue;
      const Type& type = program_.values[at(sum)].type;
      const bool fits = !buckets_.empty() && buckets_.back().layout.dtype == type.dtype &&
                        buckets_.back().layout.bytes + type.bytes() <= most_bytes_;
      if (!fits) buckets_.push_back({});
      buckets_.back().layout.dtype = type.dtype;
      buckets_.back().layout.add(type.bytes());
      buckets_.back().sums.push_back(s);
      bucket_of_[at(sum)] = static_cast<int>(buckets_.size()) - 1;
    }
  }

  void begin(const std::vector<Step>& steps) {
    Bucket& bucket = buckets_[at(begun_++)];
    const auto layout = std::make_shared<const BucketLayout>(bucket.layout);
    const SumInTwoSteps sum =
        all_reduce_in_two_steps(ranks_, layout->elements(), layout->dtype, device_);
    const Type room{DType::u8, {static_cast<std::int64_t>(sum.room)}};
    bucket.own = value(layout->type());
    bucket.room = value(room);
    Step made = named_as(steps[at(bucket.sums.back())]);
    made.op = std::make_shared<BeginSum>(ranks_, layout, sum.room);
    for (int s : bucket.sums) made.operands.push_back(steps[at(s)].operands[0]);
    made.outputs = {bucket.own, bucket.room};
    program_.append(std::move(made));
  }

  void end(const std::vector<Step>& steps) {
    const Bucket& bucket = buckets_[at(ended_++)];
    const auto layout = std::make_shared<const BucketLayout>(bucket.layout);
    Step made = named_as(steps[at(bucket.sums.back())]);
    made.op = std::make_shared<EndSum>(ranks_, layout);
    const int total = value(layout->type());
    made.operands = {bucket.own, bucket.room};
    made.outputs = {total};
    program_.append(std::move(made));
    for (std::size_t k = 0; k < bucket.sums.size(); ++k) {
      const Step& sum = steps[at(bucket.sums[k])];
      Step part = named_as(sum);
      part.op =
          std::make_shared<PartOfSum>(ranks_, layout, k, program_.values[at(sum.outputs[0])].type);
      part.operands = {total};
      part.outputs = sum.outputs;
      program_.append(std::move(part));
    }
  }

  static Step named_as(const Step& step) {
    return {nullptr, step.path, step.owner, step.node, {}, {}};
  }
  int value(const Type& type) {
    program_.values.push_back({Value::Kind::computed, 0, type});
    bucket_of_.push_back(-1);
    return static_cast<int>(program_.values.size()) - 1;
  }

  LoweredProgram& program_;
  Communicator& ranks_;
  std::size_t most_bytes_;
  Device device_;
  std::vector<bool> urgent_;     // by value
  std::vector<bool> late_;       // by step: it depends on what is in a bucket
  std::vector<Bucket> buckets_;  // in the order in which they are full
  std::vector<int> bucket_of_;   // by value
  int begun_ = 0, ended_ = 0;
};

}  // namespace

void sum_in_buckets(LoweredProgram& program, Communicator& ranks, const std::vector<bool>& split,
                    std::size_t bytes, Device device) {
  if (bytes > 0) Bucketing(program, ranks, split, bytes, device).place();
}

}  // namespace tapescope
