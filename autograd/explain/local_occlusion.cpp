#include "autograd/explain/local_occlusion.h"

#include <algorithm>
#include <numeric>
#include <unordered_map>

#include "autograd/explain/linear_rule.h"
#include "autograd/leaf.h"
#include "autograd/ops/ops.h"
#include "autograd/reach.h"

namespace tapescope::explain {
namespace {

bool is_map(const Var& var) { return var.shape().rank() == 4 && var.dtype() == DType::f32; }

// A constant of the element-wise op that is the same everywhere in the picture.
bool everywhere_alike(const Shape& shape) {
  for (int axis = 0; axis + 1 < shape.rank(); ++axis) {
    if (shape[axis] != 1) return false;
  }
  return true;
}

std::int64_t largest_reach(const std::vector<std::int64_t>& starts, std::int64_t size,
                           std::int64_t align) {
  std::int64_t most = 0;
  for (std::int64_t start : starts) most = std::max(most, start % align + size);
  return most;
}

}  // namespace

// Where a patch reads beyond what the window has changed.
struct LocalOcclusion::Site {
  Var from;
  Patch inner, wanted;
  double fill = 0;
};

struct LocalOcclusion::Plan {
  std::int64_t align_y = 1, align_x = 1;
  std::vector<std::optional<Patch>> patch;  // by node: local
  double macs = 0;
};

struct LocalOcclusion::Patches {
  std::int64_t align_y = 1, align_x = 1;
  Patch picture;
  std::vector<Site> sites;
  std::vector<Var> cut;          // what the rest reads of the local part
  std::vector<Patch> cut_patch;  // one each
  std::vector<Var> recorded;     // of a whole pass: the target, sites, cuts
  std::optional<Program> whole, local, rest;
};

LocalOcclusion::LocalOcclusion(const Record& record, Shape image_shape, Device device,
                               const KernelChoices& kernels, CompileOptions how)
    : tape_(device, Mode::evaluation, {0, kernels}), how_(std::move(how)) {
  image_ = tape_.input("image", DType::f32, image_shape.with_leading(2));
  target_ = record(tape_, image_, tape_.input("class", DType::i64, {2}));
  const std::size_t count = tape_.nodes().size();
  std::vector<bool> fed(count);
  const Var from[] = {image_}, to[] = {target_};
  needed_ = leading_to(tape_, to, Through::everything);
  reached_ = reached_from(tape_, from, Through::everything);
  possible_.resize(count);
  macs_.assign(count, 0.0);
  possible_[image_.node->index] = Patch{};
  for (const Node* node : tape_.nodes()) {
    fed[node->index] = dynamic_cast<const InputOp*>(node->op.get()) != nullptr;
    for (const Var& operand : node->operands()) {
      if (fed[operand.node->index]) fed[node->index] = true;
    }
    if (!needed_[node->index] || node->op->is_leaf()) continue;
    std::vector<Type> types;
    for (const Var& operand : node->operands()) types.push_back(operand.type());
    macs_[node->index] = node->op->cost(types, node->types()).macs;
    if (!reached_[node->index] || !is_map(node->out()) || !node->op->rows_independent()) continue;
    const Footprint f = node->op->footprint();
    const bool window = f.kind == Footprint::Kind::window && node->op->without_padding();
    const bool pointwise = f.kind == Footprint::Kind::pointwise && node->output_count == 1;
    bool admitted = window || pointwise;
    std::optional<Patch> jumps;
    for (int i = 0; i < node->operand_count && admitted; ++i) {
      const Var& operand = node->operands()[static_cast<std::size_t>(i)];
      if (!reached_[operand.node->index]) {
        admitted = !fed[operand.node->index] && (window || everywhere_alike(operand.shape()));
        continue;
      }
      const std::optional<Patch>& its = possible_[operand.node->index];
      admitted = its && operand.output == 0 && node->op->role(i) != Role::shape &&
                 (!jumps || *jumps == *its);
      if (pointwise && admitted) {
        admitted = operand.shape()[1] == node->out().shape()[1] &&
                   operand.shape()[2] == node->out().shape()[2];
      }
      if (admitted && window) admitted = i == 0;
      if (admitted) jumps = *its;
    }
    if (!admitted || !jumps) continue;
    if (window) {
      jumps->y.jump *= f.stride_h;
      jumps->x.jump *= f.stride_w;
    }
    possible_[node->index] = jumps;
  }
}
LocalOcclusion::~LocalOcclusion() = default;

LocalOcclusion::Plan LocalOcclusion::plan_up_to(std::uint32_t limit, const Windows& windows) const {
  Plan plan;
  plan.patch.resize(possible_.size());
  for (std::uint32_t i = 0; i <= limit; ++i) {
    if (!possible_[i]) continue;
    plan.align_y = std::lcm(plan.align_y, possible_[i]->y.jump);
    plan.align_x = std::lcm(plan.align_x, possible_[i]->x.jump);
  }
  plan.patch[image_.node->index] =
      Patch{{1, 0, largest_reach(windows.tops, windows.height, plan.align_y)},
            {1, 0, largest_reach(windows.lefts, windows.width, plan.align_x)}};
  for (const Node* node : tape_.nodes()) {
    const std::uint32_t at = node->index;
    if (!reached_[at] || node->op->is_leaf()) continue;
    std::optional<Patch> patch;
    bool local = possible_[at].has_value() && at <= limit;
    for (const Var& operand : node->operands()) {
      if (!local || !reached_[operand.node->index]) continue;
      const std::optional<Patch>& its = plan.patch[operand.node->index];
      local = its.has_value();
      if (!local) continue;
      const Footprint f = node->op->footprint();
      if (f.kind == Footprint::Kind::window) {
        patch = Patch{reached_by(its->y, rows_of(f)), reached_by(its->x, columns_of(f))};
      } else {
        patch = patch ? Patch{hull(patch->y, its->y), hull(patch->x, its->x)} : *its;
      }
    }
    const Shape& shape = node->types()[0].shape;
    if (local && patch && patch->y.size * patch->x.size < shape[1] * shape[2]) {
      plan.patch[at] = patch;
      plan.macs += macs_[at] * static_cast<double>(patch->y.size * patch->x.size) /
                   static_cast<double>(shape[1] * shape[2]);
    } else {
      plan.macs += macs_[at];
    }
  }
  return plan;
}

LocalOcclusion::Plan LocalOcclusion::plan(const Windows& windows) const {
  Plan best = plan_up_to(image_.node->index, windows);  // nothing is local
  for (std::uint32_t i = 0; i < possible_.size(); ++i) {
    // What only moves the cut behind a function without multiply-adds shortens the pasted maps.
    if (!possible_[i] || tape_.nodes()[i]->op->is_leaf()) continue;
    Plan next = plan_up_to(i, windows);
    if (next.macs <= best.macs) best = std::move(next);
  }
  return best;
}

LocalOcclusion::Patches LocalOcclusion::record_patches(const Plan& plan) const {
  Patches result;
  result.align_y = plan.align_y;
  result.align_x = plan.align_x;
  result.picture = *plan.patch[image_.node->index];
  const auto local = [&](const Node* node) { return plan.patch[node->index].has_value(); };
  for (const Node* node : tape_.nodes()) {
    if (!reached_[node->index] || !needed_[node->index] || local(node)) continue;
    for (const Var& operand : node->operands()) {
      if (!reached_[operand.node->index] || !local(operand.node)) continue;
      if (std::find(result.cut.begin(), result.cut.end(), operand) != result.cut.end()) continue;
      result.cut.push_back(operand);
      result.cut_patch.push_back(*plan.patch[operand.node->index]);
    }
  }
  Tape tape(tape_.device(), Mode::evaluation, {0, tape_.backend().choices});
  std::unordered_map<const Node*, Var> values;
  // A parameter, a constant, or what is made of them.
  const std::function<Var(Var)> fixed = [&](Var var) {
    Var& known = values[var.node];
    if (known) return Var{known.node, var.output};
    if (const auto* p = dynamic_cast<const ParameterOp*>(var.node->op.get())) {
      return values[var.node] = tape.parameter(p->parameter);
    }
    if (const auto* c = dynamic_cast<const ConstantOp*>(var.node->op.get())) {
      return values[var.node] = tape.constant(c->value);
    }
    std::vector<Var> operands;
    for (const Var& operand : var.node->operands()) operands.push_back(fixed(operand));
    const Node& node = tape.record(var.node->op, operands);
    values[var.node] = node.out();
    return Var{values[var.node].node, var.output};
  };
  const auto extent = [](const Patch& patch, std::int64_t channels) {
    return Shape{2, patch.y.size, patch.x.size, channels};
  };
  // The operand's values in `wanted`: the patch, the recorded map around it, and outside of the
  // map `fill`.
  const auto fetch = [&](Var from, const Patch& wanted, double fill) {
    const Patch inner = *plan.patch[from.node->index];
    const std::size_t number = result.sites.size();
    result.sites.push_back({from, inner, wanted, fill});
    const Var around =
        tape.input(fmt::format("around/{}", number), DType::f32, extent(wanted, from.shape()[3]));
    Var x = values.at(from.node);
    std::int64_t before[4] = {}, after[4] = {};
    const Reach* reaches[2][2] = {{&inner.y, &wanted.y}, {&inner.x, &wanted.x}};
    for (int axis = 1; axis <= 2; ++axis) {
      const Reach &has = *reaches[axis - 1][0], &wants = *reaches[axis - 1][1];
      const std::int64_t begin = std::max(has.begin, wants.begin);
      const std::int64_t end = std::min(has.begin + has.size, wants.begin + wants.size);
      if (begin >= end) return around;  // a stride beyond the kernel: it reads past the patch
      if (begin != has.begin || end != has.begin + has.size) {
        x = slice(x, axis, begin - has.begin, end - has.begin);
      }
      before[axis] = begin - wants.begin;
      after[axis] = wants.begin + wants.size - end;
    }
    x = pad(x, before, after);
    const Var inside = tape.input(fmt::format("inside/{}", number), DType::f32, extent(wanted, 1));
    return add(mask_positive(x, inside), around);
  };
  values[image_.node] = tape.input("patch", DType::f32, extent(result.picture, image_.shape()[3]));
  for (const Node* node : tape_.nodes()) {
    if (!local(node) || node == image_.node) continue;
    const Patch& patch = *plan.patch[node->index];
    const Footprint f = node->op->footprint();
    const bool window = f.kind == Footprint::Kind::window;
    std::vector<Var> operands;
    for (const Var& operand : node->operands()) {
      if (!reached_[operand.node->index]) {
        operands.push_back(fixed(operand));
        continue;
      }
      const Patch& has = *plan.patch[operand.node->index];
      const Patch wanted =
          window ? Patch{read_by(patch.y, rows_of(f)), read_by(patch.x, columns_of(f))} : patch;
      // A kernel of one position reads nothing around the patch.
      const bool alone = !window || (rows_of(f).extent == 1 && columns_of(f).extent == 1);
      operands.push_back(alone && has == wanted
                             ? values.at(operand.node)
                             : fetch(operand, wanted, node->op->padding_value()));
    }
    values[node] = tape.record(window ? node->op->without_padding() : node->op, operands).out();
  }
  std::vector<Var> outputs;
  for (const Var& var : result.cut) {
    if (var.node != image_.node) outputs.push_back(values.at(var.node));
  }
  if (!outputs.empty()) result.local.emplace(tape.compile(outputs, {}, how_));
  return result;
}

LocalOcclusion::Patches& LocalOcclusion::patches(const Windows& windows) {
  const Plan best = plan(windows);
  const Patch& picture = *best.patch[image_.node->index];
  const auto local = std::count_if(best.patch.begin(), best.patch.end(),
                                   [](const auto& patch) { return patch.has_value(); });
  std::unique_ptr<Patches>& slot = made_[fmt::format("{} {} {} {} {}", best.align_y, best.align_x,
                                                     picture.y.size, picture.x.size, local)];
  if (slot) return *slot;
  slot = std::make_unique<Patches>(record_patches(best));
  slot->recorded = {target_};
  for (const Site& site : slot->sites) slot->recorded.push_back(site.from);
  for (const Var& var : slot->cut) slot->recorded.push_back(var);
  std::vector<Var> computed;
  for (const Var& var : slot->recorded) {
    if (var.node != image_.node) computed.push_back(var);
  }
  slot->whole.emplace(tape_.compile(computed, {}, how_));
  CompileOptions options = how_;
  options.cuts = slot->cut;
  slot->rest.emplace(tape_.compile(std::vector<Var>{target_}, {}, options));
  return *slot;
}

LocalOcclusion::Result LocalOcclusion::run(const Tensor& x, const Tensor& index,
                                           const Tensor& baseline, const Windows& windows,
                                           int chunk) {
  Patches& p = patches(windows);
  const std::int64_t samples = x.shape()[0];
  std::vector<Tensor> recorded;
  {
    std::vector<Tensor> computed = p.whole->run({{"image", x}, {"class", index}});
    std::size_t next = 0;
    for (const Var& var : p.recorded) {
      recorded.push_back(var.node == image_.node ? x : std::move(computed[next++]));
    }
  }
  const Tensor* of_sites = recorded.data() + 1;
  const Tensor* of_cuts = of_sites + p.sites.size();
  Tensor scores(Type{DType::f32, {windows.count() * samples}});
  const double all = p.whole->cost().macs;
  const double a_window = (p.local ? p.local->cost().macs : 0) + p.rest->cost().macs;
  const double cost = all > 0 ? a_window / all : 1;
  // As much work in a run as `chunk` whole pictures are.
  const int windows_in_a_run = std::max(1, static_cast<int>(chunk / std::max(cost, 0.125)));
  for (int first = 0; first < windows.count(); first += windows_in_a_run) {
    const int count = std::min(windows_in_a_run, windows.count() - first);
    std::vector<Corner> corners;
    for (int k = first; k < first + count; ++k) {
      const Corner at = windows.corner(k);
      corners.push_back({at.y / p.align_y * p.align_y, at.x / p.align_x * p.align_x});
    }
    const Tensor patch = occluded(x, baseline, windows, first, corners, p.picture);
    std::vector<std::string> names{"patch"};
    std::vector<Tensor> tensors{patch};
    for (std::size_t i = 0; i < p.sites.size(); ++i) {
      const Site& site = p.sites[i];
      auto [around, inside] =
          surroundings(of_sites[i], corners, site.inner, site.wanted, site.fill);
      names.push_back(fmt::format("around/{}", i));
      tensors.push_back(std::move(around));
      names.push_back(fmt::format("inside/{}", i));
      tensors.push_back(std::move(inside));
    }
    const auto run = [&](Program& program) {
      std::vector<NamedTensor> inputs;
      for (std::size_t i = 0; i < names.size(); ++i) inputs.push_back({names[i], tensors[i]});
      return program.run(inputs);
    };
    const std::vector<Tensor> patches = p.local ? run(*p.local) : std::vector<Tensor>();
    names = {"class"};
    tensors = {repeated_rows(index, count)};
    std::size_t next = 0;
    for (std::size_t i = 0; i < p.cut.size(); ++i) {
      names.push_back(p.cut[i].path());
      const Tensor& its = p.cut[i].node == image_.node ? patch : patches[next++];
      tensors.push_back(pasted(of_cuts[i], its, corners, p.cut_patch[i]));
    }
    const Tensor values = run(*p.rest)[0];
    scores.rows(first * samples, (first + count) * samples).copy_from(values);
  }
  return {mean_over_windows(x, windows, recorded[0], scores), recorded[0],
          1 + cost * windows.count()};
}

double LocalOcclusion::cost(const Windows& windows) {
  const Plan best = plan(windows);
  const double all = std::accumulate(macs_.begin(), macs_.end(), 0.0);
  return all > 0 ? std::min(1.0, best.macs / all) : 1;
}

}  // namespace tapescope::explain
