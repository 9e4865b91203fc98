#include "tools/training/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <optional>

#include "autograd/program/share.h"
#include "tools/training/evaluator.h"
#include "tools/training/features.h"
#include "tools/training/staging.h"

namespace tapescope {
namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

// Epochs with the same parameters trained.
struct Trainer::Phase {
  std::int64_t first_epoch = 0, epochs = 0;
  Schedule schedule;
  std::shared_ptr<FeatureSource> train_features, validation_features;  // or null
  std::string told;                                                    // why so, in a sentence
  std::unique_ptr<Program> features;  // from the picture to what the two hold
  std::unique_ptr<Loader> train, validation;
  // Outputs: loss, gradient norm, packed squares of gradients and then terms.
  std::unique_ptr<Program> step;
  std::unique_ptr<StepStatistics> statistics;
  std::unique_ptr<Evaluator> evaluator;
};

struct Trainer::State {
  const Task& task;
  TrainerOptions options;
  Optimizer optimizer;
  std::shared_ptr<const SampleSource> train, validation;
  std::int64_t batch_size = 0;  // of a full batch: what is asked for, but no more than there is
  // Of them this rank's; of the rank that has the most.
  std::int64_t own_rows() const {
    return options.ranks != nullptr
               ? piece_of(batch_size, options.ranks->size() - 1, options.ranks->size()).count
               : batch_size;
  }
  std::vector<ParameterRef> followed = {};  // by the statistics: what is trained from the beginning
  std::shared_ptr<Tensor> arena = std::make_shared<Tensor>();  // of all Programs, in turn
  std::vector<Phase> phases = {};
  Phase* now = nullptr;
  std::vector<std::string> term_names = {};
  std::unique_ptr<Staging> staging = {};

  std::size_t peak = 0;
  Tensor learning_rate = Tensor::scalar(0), step_number = Tensor::scalar_i64(0);
  Tensor first_row = Tensor::scalar_i64(0);

  void add_phase(const Model& model, std::int64_t first_epoch, std::int64_t epochs);
  void keep_features(const Model& model, Phase& phase, Tape& tape, std::span<const Var> cut);
  void add_loaders(Phase& phase) const;
  Phase& enter(const Progress& progress, const TrainerEvents& events);
  bool wants_statistics(const Progress& progress) const {
    if (!now->statistics) return false;
    // At least once per epoch, at its end.
    const std::int64_t batches = now->train->batches();
    const bool ends = batches < options.statistics_every && progress.step % batches == batches - 1;
    return ends || progress.step % options.statistics_every == 0;
  }
  // Steps before the phase: its schedule and its optimiser's moments begin at 0.
  std::int64_t steps_before() const { return now->first_epoch * now->train->batches(); }
  std::vector<Tensor> run_step(const Batch& batch, const Progress& progress, double rate,
                               StepProfile* profile);
  StepRecord count(const std::vector<Tensor>& out, std::int64_t images, Progress& progress,
                   std::optional<StatisticsRecord>& told);
  void judge(Progress& progress, EpochRecord& record);
  // Whether any rank wants to stop; now and then, whether all still have the same parameters.
  bool ranks_agree(const Progress& progress, bool stop) const {
    constexpr std::int64_t kLookEvery = 100;  // steps
    if (options.ranks != nullptr && progress.step % kLookEvery == 0) {
      expect_alike(followed, *options.ranks, progress.step);
    }
    return any_of_ranks(options.ranks, stop);
  }
  // The terms at the end of a step's packed output.
  std::vector<NamedNumber> terms_of(const Tensor& packed) const;
};

namespace {

std::shared_ptr<const SampleSource> source_of(std::shared_ptr<const Dataset> data,
                                              Pipeline pipeline) {
  if (data == nullptr) return nullptr;
  return std::make_shared<ImageSource>(std::move(data), std::move(pipeline));
}

// Batch normalisation over one value gives zero, whatever the value: nothing is learnt from such a
// batch, and the running variance is told that there is none.
void refuse_single_values(Program& step, std::int64_t images, std::int64_t batch_size) {
  const std::int64_t last = images % batch_size;
  const std::int64_t smallest =
      images < batch_size || last == 0 ? std::min(images, batch_size) : last;
  if (smallest != 1) return;
  for (const StepInfo& info : step.steps(1)) {
    if (info.op->name() != "batch_norm_training" && info.op->name() != "batch_norm_relu") continue;
    const Shape& x = info.operands[0].shape;
    if (x.elements() != x[x.rank() - 1]) continue;
    throw usage_error(
        "'{}' would normalise a batch of one value per channel: {}; choose another --batch-size, "
        "or "
        "a larger --image-size",
        info.path,
        batch_size == 1 || images == 1
            ? "--batch-size is 1 and the image is 1x1 there"
            : fmt::format("{} training images in batches of {} leave one alone, and the image is "
                          "1x1 there",
                          images, batch_size));
  }
}

}  // namespace

Trainer::Trainer(const Model& model, const Task& task, std::shared_ptr<const Dataset> train,
                 std::shared_ptr<const Dataset> validation, Pipeline train_pipeline,
                 Pipeline test_pipeline, TrainerOptions options)
    : Trainer(model, task, source_of(std::move(train), std::move(train_pipeline)),
              source_of(std::move(validation), std::move(test_pipeline)), std::move(options)) {}

Trainer::Trainer(const Model& model, const Task& task, std::shared_ptr<const SampleSource> train,
                 std::shared_ptr<const SampleSource> validation, TrainerOptions options)
    : state_(new State{.task = task,
                       .options = options,
                       .optimizer = Optimizer(options.optimizer),
                       .train = train,
                       .validation = std::move(validation),
                       .batch_size = std::min(options.batch_size, train->size())}) {
  State& s = *state_;
  move_to(options.device, model.parameters());
  s.options.schedule.check();
  s.followed = model.trained_parameters();
  const std::int64_t unfreeze = s.options.unfrozen.empty() ? 0 : options.unfreeze_after;
  const bool thaws = unfreeze > 0 && unfreeze < options.epochs;
  s.add_phase(model, 0, thaws ? unfreeze : options.epochs);
  if (thaws) {
    for (const ParameterRef& parameter : s.options.unfrozen) parameter->frozen = false;
    s.add_phase(model, unfreeze, options.epochs - unfreeze);
    for (const ParameterRef& parameter : s.options.unfrozen) parameter->frozen = true;
    s.phases[1].schedule.peak *= options.unfreeze_factor;
  }
  s.now = &s.phases[0];
  s.staging = std::make_unique<Staging>(options.device);
}

// Records and compiles what an epoch of the phase needs, with the parameters that are trained now.
void Trainer::State::add_phase(const Model& model, std::int64_t first_epoch, std::int64_t epochs) {
  Phase phase;
  phase.first_epoch = first_epoch;
  phase.epochs = epochs;
  Tape tape(options.device, Mode::training, {options.seed, options.kernels, options.precision});
  const NamedVars inputs = task.inputs(tape, options.batch_size);
  const Loss of_samples = task.loss(inputs, model(inputs));
  const Var loss = mean(of_samples.samples);
  const std::vector<ParameterRef> parameters = model.trained_parameters();
  if (parameters.empty()) {
    throw usage_error("there is nothing to train: --freeze covers every parameter");
  }
  std::vector<Var> cut;
  const std::vector<ParameterRef> all = model.parameters();
  const bool frozen =
      std::any_of(all.begin(), all.end(), [](const ParameterRef& p) { return p->frozen; });
  if (options.keep_features && frozen && inputs.contains("image")) {
    cut = feature_cut(tape, inputs.at("image"), parameters);
  }
  const std::vector<Var> gradients = tape.gradient(loss, parameters);
  const Effects effects = optimizer.update(parameters, gradients);
  keep_features(model, phase, tape, cut);
  add_loaders(phase);
  phase.schedule = options.schedule;
  phase.schedule.steps = phase.train->batches() * epochs;

  CompileOptions compile;
  compile.chunks = static_cast<int>(options.chunks);
  if (options.ranks != nullptr) compile.chunks /= options.ranks->size();
  compile.ranks = options.ranks;
  compile.guard = loss;  // parameters stay as they were before a loss that is not finite
  compile.arena = arena;
  std::vector<std::string> cut_paths;
  if (phase.train_features) {
    compile.cuts = cut;
    for (const Var& feature : cut) cut_paths.push_back(feature.path());
  }
  // In one vector: one copy to the host, however many there are.
  std::vector<Var> told;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (std::find(followed.begin(), followed.end(), parameters[i]) == followed.end()) continue;
    told.push_back(optimizer.gradient_squares()[i]);
  }
  term_names.clear();
  for (const Term& term : of_samples.terms) {
    told.push_back(mean(term.samples));
    term_names.push_back(term.name);
  }
  const Var outputs[] = {loss, optimizer.gradient_norm(), packed(tape, told)};
  phase.step = std::make_unique<Program>(tape.compile(outputs, effects, compile));
  refuse_single_values(*phase.step, phase.train->samples(), options.batch_size);
  const Backend backend{options.device, options.kernels, options.precision};
  phase.evaluator = std::make_unique<Evaluator>(model, task, options.batch_size, backend, arena,
                                                cut_paths, compile.chunks, options.ranks);
  if (options.statistics_every > 0) {
    phase.statistics =
        std::make_unique<StepStatistics>(model, task, followed, options, arena, cut_paths);
  }
  phases.push_back(std::move(phase));
}

void Trainer::State::add_loaders(Phase& phase) const {
  LoaderOptions plain{.batch_size = options.batch_size, .threads = options.loader_threads};
  if (options.ranks != nullptr) {
    plain.rank = options.ranks->rank();
    plain.ranks = options.ranks->size();
  }
  LoaderOptions shuffled = plain;
  shuffled.shuffle = true;
  shuffled.seed = options.seed;
  phase.train =
      std::make_unique<Loader>(phase.train_features ? phase.train_features : train, shuffled);
  if (!validation) return;
  phase.validation = std::make_unique<Loader>(
      phase.validation_features ? phase.validation_features : validation, plain);
}

// Decides whether the cut's values are computed once, and says why.
void Trainer::State::keep_features(const Model& model, Phase& phase, Tape& tape,
                                   std::span<const Var> cut) {
  if (cut.empty()) return;
  constexpr std::size_t kMostBytes = std::size_t{1} << 30;
  if (!train->repeats() || (validation && !validation->repeats())) {
    phase.told =
        "features of the frozen part are computed anew in every epoch, since augmentation changes "
        "the pictures; --augment none computes them once";
    return;
  }
  if (!in_evaluation(model, task, options.device, cut)) {
    phase.told =
        "features of the frozen part are computed anew in every epoch, since something in it is "
        "drawn at "
        "random";
    return;
  }
  phase.train_features = std::make_shared<FeatureSource>(train, cut);
  std::size_t bytes = phase.train_features->bytes();
  if (validation) {
    phase.validation_features = std::make_shared<FeatureSource>(validation, cut);
    bytes += phase.validation_features->bytes();
  }
  if (bytes > kMostBytes) {
    phase.train_features = phase.validation_features = nullptr;
    phase.told = fmt::format(
        "features of the frozen part are computed anew in every epoch: to keep those of '{}' would "
        "take {:.1f} GB",
        cut[0].path(), static_cast<double>(bytes) / 1e9);
    return;
  }
  phase.features = std::make_unique<Program>(tape.compile(cut, {}));
  phase.told = fmt::format(
      "features of {} pictures ('{}', {:.1f} MB) are computed once: all that is trained lies "
      "behind "
      "them, and no augmentation changes the pictures",
      train->size() + (validation ? validation->size() : 0), cut[0].path(),
      static_cast<double>(bytes) / 1e6);
}

// Makes the phase of the next step the present one.
Trainer::Phase& Trainer::State::enter(const Progress& progress, const TrainerEvents& events) {
  Phase* next = &phases.front();
  for (Phase& phase : phases) {
    if (phase.first_epoch <= progress.epoch) next = &phase;
  }
  const bool later = next != &phases.front();
  const bool begins = progress.epoch == next->first_epoch && progress.batch == 0;
  for (const ParameterRef& parameter : options.unfrozen) {
    if (phases.size() > 1) parameter->frozen = !later;
  }
  if (later && begins) {
    optimizer.forget();
    if (events.note) {
      events.note(fmt::format("unfrozen: {} parameters are trained from here on, lr {:.3g}",
                              options.unfrozen.size(), next->schedule.peak));
    }
  }
  if (events.note && !next->told.empty()) events.note(std::exchange(next->told, ""));
  now = next;
  for (FeatureSource* source : {now->train_features.get(), now->validation_features.get()}) {
    if (source == nullptr || source->filled()) continue;
    source->fill(*now->features, task, options.device, options.batch_size, options.loader_threads);
  }
  return *now;
}

Trainer::~Trainer() = default;

// The last phase trains the most.
MemoryPlan Trainer::plan() { return state_->phases.back().step->plan(state_->own_rows()); }

std::size_t Trainer::prefetch_bytes() const {
  const Phase& phase = state_->phases.back();
  const std::int64_t most = state_->options.loader_threads > 0 ? LoaderOptions{}.prefetch : 0;
  const std::int64_t batches = std::min(most, phase.train->batches() - 1);
  std::size_t bytes =
      phase.step->plan(state_->own_rows()).inputs * static_cast<std::size_t>(batches);
  for (const Phase& each : state_->phases) {
    if (each.train_features) bytes += each.train_features->bytes();
    if (each.validation_features) bytes += each.validation_features->bytes();
  }
  return bytes;
}

const std::vector<std::string>& Trainer::statistics_names() const {
  static const std::vector<std::string> none;
  const auto& statistics = state_->phases[0].statistics;
  return statistics ? statistics->names() : none;
}

std::size_t Trainer::statistics_bytes() const {
  const auto& statistics = state_->phases[0].statistics;
  return statistics ? statistics->bytes() : 0;
}

std::size_t Trainer::peak_bytes() const { return state_->peak; }

double Trainer::step_flops() {
  double flops = 0;
  for (const Phase& phase : state_->phases) {
    flops += phase.step->cost(state_->batch_size).flops * static_cast<double>(phase.epochs);
  }
  return flops / static_cast<double>(state_->options.epochs);
}

std::int64_t Trainer::steps_per_epoch() const { return state_->phases[0].train->batches(); }

Optimizer& Trainer::optimizer() { return state_->optimizer; }

std::vector<Tensor> Trainer::State::run_step(const Batch& batch, const Progress& progress,
                                             double rate, StepProfile* profile) {
  learning_rate.values<float>()[0] = static_cast<float>(rate);
  step_number.values<std::int64_t>()[0] = progress.step - steps_before();
  std::vector<NamedTensor> inputs = task.feed(batch);
  inputs.push_back({"learning_rate", learning_rate});
  inputs.push_back({"step", step_number});
  first_row.values<std::int64_t>()[0] = batch.first_row;
  if (options.ranks != nullptr) inputs.push_back({kFirstRow, first_row});
  inputs = staging->stage(std::move(inputs));
  if (wants_statistics(progress)) now->statistics->before(inputs, batch);
  std::vector<Tensor> out =
      profile != nullptr ? profile->run(*now->step, inputs, batch.rows()) : now->step->run(inputs);
  staging->done();
  if (out.empty()) {
    throw failure(
        "the loss is not finite at step {} of epoch {} (learning rate {:.3g}): the first value to "
        "go wrong is that of '{}'; the parameters and checkpoints are from before this step: try a "
        "smaller --lr or --clip-gradient 1",
        progress.step + 1, progress.epoch + 1, rate, now->step->first_non_finite(inputs));
  }
  return out;
}

std::vector<NamedNumber> Trainer::State::terms_of(const Tensor& packed) const {
  const auto count = static_cast<std::int64_t>(term_names.size());
  std::vector<NamedNumber> terms;
  for (std::int64_t i = 0; i < count; ++i) {
    terms.push_back(
        {term_names[static_cast<std::size_t>(i)], packed.item(packed.elements() - count + i)});
  }
  return terms;
}

// Counts a step over `images` that has just run. `told` gets its statistics, where they are due.
StepRecord Trainer::State::count(const std::vector<Tensor>& out, std::int64_t images,
                                 Progress& progress, std::optional<StatisticsRecord>& told) {
  StepRecord record;
  record.loss = out[0].item();
  record.terms = terms_of(out[2]);
  const auto rows = static_cast<double>(images);
  for (std::size_t i = 0; i < progress.term_sums.size(); ++i) {
    progress.term_sums[i] += record.terms[i].value * rows;
  }
  progress.loss_sum += record.loss * rows;
  progress.images += images;
  const bool with_statistics = wants_statistics(progress);
  record.step = ++progress.step;
  record.epoch = progress.epoch + 1;
  ++progress.batch;
  if (with_statistics) {
    told = now->statistics->after(out[2]);
    told->step = record.step;
    told->epoch = record.epoch;
  }
  return record;
}

// Means of the training steps, the validation, and whether it is the best so far.
void Trainer::State::judge(Progress& progress, EpochRecord& record) {
  record.epoch = progress.epoch + 1;
  record.step = progress.step;
  const auto all = static_cast<double>(progress.images);
  record.train_loss = progress.images > 0 ? progress.loss_sum / all : 0;
  for (std::size_t i = 0; i < progress.term_sums.size() && progress.images > 0; ++i) {
    record.terms.push_back({term_names[i], progress.term_sums[i] / all});
  }
  progress.loss_sum = 0;
  progress.images = 0;
  progress.term_sums.assign(term_names.size(), 0);
  double score = static_cast<double>(record.epoch);  // without validation the last is the best
  if (now->validation) {
    const std::unique_ptr<Metrics> metrics = now->evaluator->over(*now->validation);
    record.validated = true;
    record.validation_loss = metrics->loss();
    record.validation_score = score = metrics->score();
  }
  const std::int64_t images = record.validated ? validation->size() : 0;
  record.best = progress.best.judge(record.epoch, score, images);
}

void Trainer::tell_batch(const Batch& batch, const Progress& progress,
                         const TrainerEvents& events) {
  Communicator* const ranks = state_->options.ranks;
  if (ranks == nullptr) {
    if (events.batch) events.batch(batch);
  } else if (progress.step < static_cast<std::int64_t>(kRecordedSteps)) {
    const Batch whole = whole_batch(batch, *ranks);
    if (events.batch) events.batch(whole);
  }
}

bool Trainer::run(Progress& progress, const TrainerEvents& events) {
  State& s = *state_;
  Clock::time_point logged = Clock::now();
  std::int64_t images_logged = 0;
  for (; progress.epoch < s.options.epochs; ++progress.epoch, progress.batch = 0) {
    Phase& phase = s.enter(progress, events);
    const Clock::time_point began = Clock::now();
    EpochRecord record;
    std::int64_t images = 0;  // of this epoch, since this call
    if (progress.images == 0) progress.term_sums.assign(s.term_names.size(), 0);
    phase.train->start(progress.epoch, progress.batch);
    for (Batch batch;;) {
      const Clock::time_point waiting = Clock::now();
      if (!phase.train->next(batch)) break;
      record.data_wait_seconds += seconds_since(waiting);
      tell_batch(batch, progress, events);
      const double rate = phase.schedule.at(progress.step - s.steps_before());
      const std::vector<Tensor> out = s.run_step(batch, progress, rate, events.profile);
      std::optional<StatisticsRecord> statistics;
      StepRecord step = s.count(out, batch.all_rows, progress, statistics);
      images += batch.all_rows;
      images_logged += batch.all_rows;
      if (statistics) {
        record.statistics_seconds += statistics->seconds;
        if (events.statistics) events.statistics(*statistics);
      }
      if (events.tick) events.tick(progress, step.loss, step.terms);
      if (events.step && (progress.step % s.options.log_every == 0 || progress.step == 1)) {
        step.learning_rate = rate;
        step.gradient_norm = out[1].item();
        step.images_per_second = static_cast<double>(images_logged) / seconds_since(logged);
        events.step(step);
        logged = Clock::now();
        images_logged = 0;
      }
      const bool stop = s.ranks_agree(progress, events.stop && events.stop());
      const bool epoch_ends = progress.batch == steps_per_epoch();
      if (stop || (s.options.checkpoint_every > 0 && !epoch_ends &&
                   progress.step % s.options.checkpoint_every == 0)) {
        if (events.save) events.save(progress, false, false);
      }
      if (stop) return false;
    }
    record.images_per_second = static_cast<double>(images) / seconds_since(began);
    if (s.peak == 0) s.peak = Allocator::of(s.options.device).use().peak;
    s.judge(progress, record);
    record.seconds = seconds_since(began);
    if (events.epoch) events.epoch(record);
    if (events.save) {
      Progress next = progress;
      ++next.epoch;
      next.batch = 0;
      events.save(next, record.best, true);
    }
    logged = Clock::now();
    images_logged = 0;
  }
  return true;
}

}  // namespace tapescope
