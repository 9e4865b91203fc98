#include "tools/training/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <optional>

#include "tools/training/staging.h"

namespace tapescope {
namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Loss and predictions on an evaluation tape over the shared parameters.
class Evaluator {
 public:
  Evaluator(const Model& model, const Task& task, std::int64_t batch_size, const Backend& backend,
            std::shared_ptr<Tensor> arena = {})
      : task_(task),
        program_(compile(model, task, batch_size, backend, std::move(arena))),
        staging_(backend.device) {}

  std::unique_ptr<Metrics> over(Loader& loader) {
    std::unique_ptr<Metrics> metrics = task_.metrics();
    loader.start(0);
    for (Batch batch; loader.next(batch);) {
      const std::vector<Tensor> out = program_.run(staging_.stage(task_.feed(batch)));
      staging_.done();
      metrics->add(batch, out[0], out[1]);
    }
    return metrics;
  }

 private:
  static Program compile(const Model& model, const Task& task, std::int64_t batch_size,
                         const Backend& backend, std::shared_ptr<Tensor> arena) {
    Tape tape(backend.device, Mode::evaluation, {0, backend.choices});
    const NamedVars inputs = task.inputs(tape, batch_size);
    const NamedVars outputs = model(inputs);
    CompileOptions options;
    options.arena = std::move(arena);
    const Var wanted[] = {task.loss(inputs, outputs).samples, task.predictions(outputs)};
    return tape.compile(wanted, {}, options);
  }
  const Task& task_;
  Program program_;
  Staging staging_;
};

}  // namespace

struct Trainer::State {
  const Task& task;
  TrainerOptions options;
  Optimizer optimizer;
  std::int64_t batch_size = 0;  // of a full batch: what is asked for, but no more than there is
  std::unique_ptr<Loader> train, validation;
  // Outputs: loss, gradient norm, packed squares of gradients and then terms.
  std::unique_ptr<Program> step;
  std::vector<std::string> term_names;
  std::unique_ptr<StepStatistics> statistics;
  std::unique_ptr<Evaluator> evaluator;
  std::unique_ptr<Staging> staging;

  std::size_t peak = 0;
  Tensor learning_rate = Tensor::scalar(0), step_number = Tensor::scalar_i64(0);

  bool wants_statistics(const Progress& progress) const {
    return statistics && progress.step % options.statistics_every == 0;
  }
  std::vector<Tensor> run_step(const Batch& batch, const Progress& progress, double rate,
                               StepProfile* profile);
  StepRecord count(const std::vector<Tensor>& out, std::int64_t images, Progress& progress,
                   std::optional<StatisticsRecord>& told);
  void judge(Progress& progress, EpochRecord& record);
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
    if (info.op->name() != "batch_norm_training") continue;
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
    : state_(new State{task,
                       options,
                       Optimizer(options.optimizer),
                       std::min(options.batch_size, train->size()),
                       {},
                       {},
                       {},
                       {},
                       {},
                       {},
                       {}}) {
  State& s = *state_;
  move_to(options.device, model.parameters());
  s.options.schedule.check();
  s.train =
      std::make_unique<Loader>(std::move(train), LoaderOptions{.batch_size = options.batch_size,
                                                               .shuffle = true,
                                                               .seed = options.seed,
                                                               .threads = options.loader_threads});
  s.options.schedule.steps = s.train->batches() * options.epochs;
  if (validation) {
    s.validation = std::make_unique<Loader>(
        std::move(validation),
        LoaderOptions{.batch_size = options.batch_size, .threads = options.loader_threads});
  }
  Tape tape(options.device, Mode::training, {options.seed, options.kernels});
  const NamedVars inputs = task.inputs(tape, options.batch_size);
  const Loss of_samples = task.loss(inputs, model(inputs));
  const Var loss = mean(of_samples.samples);
  const std::vector<ParameterRef> parameters = model.trained_parameters();
  if (parameters.empty()) {
    throw usage_error("there is nothing to train: --freeze covers every parameter");
  }
  const std::vector<Var> gradients = tape.gradient(loss, parameters);
  const Effects effects = s.optimizer.update(parameters, gradients);
  CompileOptions compile;
  compile.guard = loss;  // parameters stay as they were before a loss that is not finite
  compile.arena = std::make_shared<Tensor>();
  // In one vector: one copy to the host, however many there are.
  std::vector<Var> told = s.optimizer.gradient_squares();
  for (const Term& term : of_samples.terms) {
    told.push_back(mean(term.samples));
    s.term_names.push_back(term.name);
  }
  const Var outputs[] = {loss, s.optimizer.gradient_norm(), packed(tape, told)};
  s.step = std::make_unique<Program>(tape.compile(outputs, effects, compile));
  refuse_single_values(*s.step, s.train->samples(), options.batch_size);
  const Backend backend{options.device, options.kernels};
  s.evaluator =
      std::make_unique<Evaluator>(model, task, options.batch_size, backend, compile.arena);
  if (options.statistics_every > 0) {
    s.statistics = std::make_unique<StepStatistics>(model, task, options.batch_size, options.seed,
                                                    backend, compile.arena);
  }
  s.staging = std::make_unique<Staging>(options.device);
}

Trainer::~Trainer() = default;

MemoryPlan Trainer::plan() { return state_->step->plan(state_->batch_size); }

std::size_t Trainer::prefetch_bytes() const {
  const std::int64_t most = state_->options.loader_threads > 0 ? LoaderOptions{}.prefetch : 0;
  const std::int64_t batches = std::min(most, state_->train->batches() - 1);
  return state_->step->plan(state_->batch_size).inputs * static_cast<std::size_t>(batches);
}

const std::vector<std::string>& Trainer::statistics_names() const {
  static const std::vector<std::string> none;
  return state_->statistics ? state_->statistics->names() : none;
}

std::size_t Trainer::statistics_bytes() const {
  return state_->statistics ? state_->statistics->bytes() : 0;
}

std::size_t Trainer::peak_bytes() const { return state_->peak; }

double Trainer::step_flops() { return state_->step->cost(state_->batch_size).flops; }

std::int64_t Trainer::steps_per_epoch() const { return state_->train->batches(); }

Optimizer& Trainer::optimizer() { return state_->optimizer; }

std::vector<Tensor> Trainer::State::run_step(const Batch& batch, const Progress& progress,
                                             double rate, StepProfile* profile) {
  learning_rate.values<float>()[0] = static_cast<float>(rate);
  step_number.values<std::int64_t>()[0] = progress.step;
  std::vector<NamedTensor> inputs = task.feed(batch);
  inputs.push_back({"learning_rate", learning_rate});
  inputs.push_back({"step", step_number});
  inputs = staging->stage(std::move(inputs));
  if (wants_statistics(progress)) statistics->before(inputs, batch.rows());
  std::vector<Tensor> out =
      profile != nullptr ? profile->run(*step, inputs, batch.rows()) : step->run(inputs);
  staging->done();
  if (out.empty()) {
    throw failure(
        "the loss is not finite at step {} of epoch {} (learning rate {:.3g}): the first value to "
        "go wrong is that of '{}'; the parameters and checkpoints are from before this step: try a "
        "smaller --lr or --clip-gradient 1",
        progress.step + 1, progress.epoch + 1, rate, step->first_non_finite(inputs));
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
    told = statistics->after(out[2]);
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
  if (validation) {
    const std::unique_ptr<Metrics> metrics = evaluator->over(*validation);
    record.validated = true;
    record.validation_loss = metrics->loss();
    record.validation_score = score = metrics->score();
  }
  // On a small validation set many epochs have the best score: the one with the least loss.
  record.best = score > progress.best_score || (score == progress.best_score && record.validated &&
                                                record.validation_loss < progress.best_loss);
  if (!record.best) return;
  progress.best_score = score;
  progress.best_loss = record.validated ? record.validation_loss : progress.best_loss;
  progress.best_epoch = record.epoch;
}

bool Trainer::run(Progress& progress, const TrainerEvents& events) {
  State& s = *state_;
  const std::int64_t batches = s.train->batches();
  Clock::time_point logged = Clock::now();
  std::int64_t images_logged = 0;
  for (; progress.epoch < s.options.epochs; ++progress.epoch, progress.batch = 0) {
    const Clock::time_point began = Clock::now();
    EpochRecord record;
    std::int64_t images = 0;  // of this epoch, since this call
    if (progress.images == 0) progress.term_sums.assign(s.term_names.size(), 0);
    s.train->start(progress.epoch, progress.batch);
    for (Batch batch;;) {
      const Clock::time_point waiting = Clock::now();
      if (!s.train->next(batch)) break;
      record.data_wait_seconds += seconds_since(waiting);
      if (events.batch) events.batch(batch);
      const double rate = s.options.schedule.at(progress.step);
      const std::vector<Tensor> out = s.run_step(batch, progress, rate, events.profile);
      std::optional<StatisticsRecord> statistics;
      StepRecord step = s.count(out, batch.rows(), progress, statistics);
      images += batch.rows();
      images_logged += batch.rows();
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
      const bool stop = events.stop && events.stop();
      const bool epoch_ends = progress.batch == batches;
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

std::unique_ptr<Metrics> evaluate(const Model& model, const Task& task,
                                  std::shared_ptr<const SampleSource> data, std::int64_t batch_size,
                                  int loader_threads, const Backend& backend) {
  move_to(backend.device, model.parameters());
  Loader loader(std::move(data), {.batch_size = batch_size, .threads = loader_threads});
  return Evaluator(model, task, batch_size, backend).over(loader);
}

std::unique_ptr<Metrics> evaluate(const Model& model, const Task& task,
                                  std::shared_ptr<const Dataset> data, const Pipeline& pipeline,
                                  std::int64_t batch_size, int loader_threads,
                                  const Backend& backend) {
  return evaluate(model, task, source_of(std::move(data), pipeline), batch_size, loader_threads,
                  backend);
}

}  // namespace tapescope
