#include "tools/training/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <optional>

#include "kernels/common/pieces.h"
#include "tools/training/evaluator.h"
#include "tools/training/features.h"
#include "tools/training/memory_limit.h"
#include "tools/training/step_runner.h"

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
  // Its output is one vector, a copy for the host: loss, gradient norm, terms, and the sum of
  // squares of each gradient.
  std::unique_ptr<Program> step;
  std::vector<std::int64_t> followed;  // where in it those of State::followed are
  std::unique_ptr<StepStatistics> statistics;
  std::unique_ptr<Evaluator> evaluator;
};

// What one call of run() counts beside the Progress.
struct Trainer::Running {
  Progress& progress;
  const TrainerEvents& events;
  Clock::time_point logged = Clock::now();
  std::int64_t images_logged = 0;
  EpochRecord record = {};
  std::int64_t images = 0;  // of this epoch, since this call
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
  std::shared_ptr<SharedArena> arena = std::make_shared<SharedArena>();  // of all Programs, in turn
  std::vector<Phase> phases = {};
  Phase* now = nullptr;
  std::vector<std::string> term_names = {};
  std::unique_ptr<StepRunner> runner = {};
  std::size_t peak = 0;

  void add_phase(const Model& model, std::int64_t first_epoch, std::int64_t epochs);
  void keep_features(const Model& model, Phase& phase, Tape& tape, std::span<const Var> cut);
  void add_loaders(Phase& phase) const;
  MemoryBeside beside() const;
  Phase& enter(const Progress& progress, const TrainerEvents& events);
  bool wants_statistics(std::int64_t step) const {
    if (!now->statistics) return false;
    // At least once per epoch, at its end.
    const std::int64_t batches = now->train->batches();
    const bool ends = batches < options.statistics_every && step % batches == batches - 1;
    return ends || step % options.statistics_every == 0;
  }
  bool checkpoint_due(std::int64_t steps_done) const {
    return options.checkpoint_every > 0 && steps_done % options.checkpoint_every == 0;
  }
  // Whether the next step may begin before this one, counted from 0, was read: nothing looks at the
  // parameters after it.
  bool may_be_read_late(std::int64_t step, bool ends_epoch, const TrainerEvents& events) const {
    return runner->reads_late() && !ends_epoch && events.profile == nullptr &&
           !wants_statistics(step) && !checkpoint_due(step + 1) && !ranks_look_after(step + 1);
  }
  bool ranks_look_after(std::int64_t steps_done) const {
    constexpr std::int64_t kLookEvery = 100;  // steps
    return options.ranks != nullptr && steps_done % kLookEvery == 0;
  }
  // Steps before the phase: its schedule and its optimiser's moments begin at 0.
  std::int64_t steps_before() const { return now->first_epoch * now->train->batches(); }
  void start_step(const Batch& batch, const Progress& progress, const TrainerEvents& events);
  StepRecord count(const StartedStep& step, Progress& progress,
                   std::optional<StatisticsRecord>& told);
  bool settle(Running& run);
  void judge(Progress& progress, EpochRecord& record);
  // Whether any rank wants to stop; now and then, whether all still have the same parameters.
  bool ranks_agree(const Progress& progress, bool stop) const {
    if (ranks_look_after(progress.step)) {
      expect_alike(followed, *options.ranks, progress.step);
    }
    return any_of_ranks(options.ranks, stop);
  }
  static constexpr std::int64_t kFirstTerm = 2;  // in a step's output
};

namespace {

std::shared_ptr<const SampleSource> source_of(std::shared_ptr<const Dataset> data,
                                              Pipeline pipeline) {
  if (data == nullptr) return nullptr;
  return std::make_shared<ImageSource>(std::move(data), std::move(pipeline));
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
  s.runner = std::make_unique<StepRunner>(task, options.device, options.ranks != nullptr);
}

// Records and compiles what an epoch of the phase needs, with the parameters that are trained now.
void Trainer::State::add_phase(const Model& model, std::int64_t first_epoch, std::int64_t epochs) {
  Phase& phase = phases.emplace_back();
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
  if (options.keep_features && inputs.contains("image") &&
      std::any_of(all.begin(), all.end(), [](const ParameterRef& p) { return p->frozen; })) {
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
  std::vector<Var> told = {loss, optimizer.gradient_norm()};
  term_names.clear();
  for (const Term& term : of_samples.terms) {
    told.push_back(mean(term.samples));
    term_names.push_back(term.name);
  }
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (std::find(followed.begin(), followed.end(), parameters[i]) == followed.end()) continue;
    phase.followed.push_back(static_cast<std::int64_t>(told.size() + i));
  }
  told.push_back(optimizer.gradient_squares());
  const Var outputs[] = {packed(told)};
  compile.memory_rows = own_rows();
  phase.step = std::make_unique<Program>(tape.compile(outputs, effects, compile));
  const std::size_t arena_limit = limit_memory(*phase.step, tape, outputs, effects, compile,
                                               options.memory_limit, beside().total());
  refuse_single_values(*phase.step, phase.train->samples(), options.batch_size);
  const Backend backend{options.device, options.kernels, options.precision};
  phase.evaluator = std::make_unique<Evaluator>(model, task, options.batch_size, backend, arena,
                                                cut_paths, compile.chunks, options.ranks);
  if (options.statistics_every > 0) {
    phase.statistics = std::make_unique<StepStatistics>(model, task, followed, options, arena,
                                                        cut_paths, arena_limit);
  }
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
        "drawn at random";
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
      "behind them, and no augmentation changes the pictures",
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

MemoryBeside Trainer::State::beside() const {
  const Phase& phase = phases.back();
  const std::int64_t most = options.loader_threads > 0 ? LoaderOptions{}.prefetch : 0;
  const std::int64_t batches = std::min(most, phase.train->batches() - 1);
  MemoryBeside bytes;
  bytes.prefetch = phase.step->plan(own_rows()).inputs * static_cast<std::size_t>(batches);
  for (const Phase& each : phases) {
    if (each.train_features) bytes.prefetch += each.train_features->bytes();
    if (each.validation_features) bytes.prefetch += each.validation_features->bytes();
  }
  if (options.statistics_every == 0) return bytes;
  for (const ParameterRef& parameter : followed) bytes.statistics += parameter->value.bytes();
  return bytes;
}
MemoryBeside Trainer::beside() const { return state_->beside(); }
Recomputation Trainer::recomputed() const { return state_->phases.back().step->recomputed(); }

const std::vector<std::string>& Trainer::statistics_names() const {
  static const std::vector<std::string> none;
  const auto& statistics = state_->phases[0].statistics;
  return statistics ? statistics->names() : none;
}

std::size_t Trainer::peak_bytes() const { return state_->peak; }
double Trainer::step_flops() {
  double flops = 0;
  for (const Phase& phase : state_->phases) {
    flops += phase.step->cost(state_->batch_size).flops * static_cast<double>(phase.epochs);
  }
  return flops / static_cast<double>(state_->options.epochs);
}

KernelMeasurement Trainer::measure_kernels() {
  State& s = *state_;
  Communicator* const ranks = s.options.ranks;
  const std::int64_t rows =
      ranks != nullptr ? piece_of(s.batch_size, ranks->rank(), ranks->size()).count : s.batch_size;
  MeasureLimits limits;
  if (s.options.memory_limit > 0) limits.bytes = s.options.memory_limit - s.beside().total();
  return tapescope::measure_kernels(*s.phases.back().step, rows, ranks, limits);
}

std::int64_t Trainer::steps_per_epoch() const { return state_->phases[0].train->batches(); }

Optimizer& Trainer::optimizer() { return state_->optimizer; }

void Trainer::State::start_step(const Batch& batch, const Progress& progress,
                                const TrainerEvents& events) {
  const std::int64_t index = progress.step + runner->under_way(), number = index - steps_before();
  StartedStep step = runner->feed(batch, now->schedule.at(number), number);
  step.index = index;
  step.epoch = progress.epoch;
  step.with_statistics = wants_statistics(index);
  if (step.with_statistics) now->statistics->before(step.inputs, batch);
  runner->start(*now->step, std::move(step), events.profile);
}

// Counts a step that has ended. `told` gets its statistics, where they are due.
StepRecord Trainer::State::count(const StartedStep& step, Progress& progress,
                                 std::optional<StatisticsRecord>& told) {
  const Tensor& out = step.outputs[0];
  StepRecord record;
  record.loss = out.item(0);
  record.gradient_norm = out.item(1);
  record.learning_rate = step.rate;
  for (std::size_t i = 0; i < term_names.size(); ++i) {
    const double term = out.item(kFirstTerm + static_cast<std::int64_t>(i));
    record.terms.push_back({term_names[i], term});
  }
  const auto rows = static_cast<double>(step.images);
  for (std::size_t i = 0; i < progress.term_sums.size(); ++i) {
    progress.term_sums[i] += record.terms[i].value * rows;
  }
  progress.loss_sum += record.loss * rows;
  progress.images += step.images;
  record.step = ++progress.step;
  record.epoch = progress.epoch + 1;
  ++progress.batch;
  if (step.with_statistics) {
    std::vector<double> squares;
    for (std::int64_t at : now->followed) squares.push_back(out.item(at));
    told = now->statistics->after(squares);
    told->step = record.step;
    told->epoch = record.epoch;
  }
  return record;
}

// Reads the first step under way, and tells of it. True where the training is to stop.
bool Trainer::State::settle(Running& run) {
  Progress& progress = run.progress;
  const TrainerEvents& events = run.events;
  const StartedStep done = runner->finish();
  std::optional<StatisticsRecord> statistics;
  StepRecord step = count(done, progress, statistics);
  run.images += done.images;
  run.images_logged += done.images;
  if (statistics) {
    run.record.statistics_seconds += statistics->seconds;
    if (events.statistics) events.statistics(*statistics);
  }
  if (events.tick) events.tick(progress, step.loss, step.terms);
  if (events.step && (progress.step % options.log_every == 0 || progress.step == 1)) {
    step.images_per_second = static_cast<double>(run.images_logged) / seconds_since(run.logged);
    events.step(step);
    run.logged = Clock::now();
    run.images_logged = 0;
  }
  return ranks_agree(progress, events.stop && events.stop());
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

void Trainer::tell_batch(const Batch& batch, std::int64_t step, const TrainerEvents& events) {
  Communicator* const ranks = state_->options.ranks;
  if (ranks == nullptr) {
    if (events.batch) events.batch(batch);
  } else if (step < static_cast<std::int64_t>(kRecordedSteps)) {
    const Batch whole = whole_batch(batch, *ranks);
    if (events.batch) events.batch(whole);
  }
}

// The rest of an epoch's steps; false where the training stops among them.
bool Trainer::run_epoch(Running& run) {
  State& s = *state_;
  Progress& progress = run.progress;
  Loader& loader = *s.now->train;
  loader.start(progress.epoch, progress.batch);
  for (Batch batch;;) {
    const Clock::time_point waiting = Clock::now();
    if (!loader.next(batch)) return true;
    run.record.data_wait_seconds += seconds_since(waiting);
    const std::int64_t ahead = s.runner->under_way(), index = progress.step + ahead;
    tell_batch(batch, index, run.events);
    const bool ends_epoch = progress.batch + ahead + 1 == loader.batches();
    s.start_step(batch, progress, run.events);
    bool stop = s.runner->under_way() == 2 && s.settle(run);
    if (stop || !s.may_be_read_late(index, ends_epoch, run.events)) {
      while (s.runner->under_way() > 0) stop = s.settle(run) || stop;
      if ((stop || (s.checkpoint_due(progress.step) && !ends_epoch)) && run.events.save) {
        run.events.save(progress, false, false);
      }
    }
    if (stop) return false;
  }
}

bool Trainer::run(Progress& progress, const TrainerEvents& events) {
  State& s = *state_;
  Running run{progress, events};
  s.runner->abandon();
  for (; progress.epoch < s.options.epochs; ++progress.epoch, progress.batch = 0) {
    s.enter(progress, events);
    const Clock::time_point began = Clock::now();
    run.record = {};
    run.images = 0;
    if (progress.images == 0) progress.term_sums.assign(s.term_names.size(), 0);
    if (!run_epoch(run)) return false;
    EpochRecord& record = run.record;
    record.images_per_second = static_cast<double>(run.images) / seconds_since(began);
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
    run.logged = Clock::now();
    run.images_logged = 0;
  }
  return true;
}

}  // namespace tapescope
