// Trainings with a planted trouble: the diagnosis names it, and is silent about a healthy one.
#include "tools/monitoring/diagnosis.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <deque>
#include <fstream>
#include <functional>
#include <optional>
#include <set>
#include <thread>

#include "engine/philox.h"
#include "layers/layers.h"
#include "layers/losses.h"
#include "tests/tools/temporary_folder.h"
#include "tools/monitoring/event_file.h"
#include "tools/monitoring/history.h"

namespace tapescope::monitoring {
namespace {

constexpr int kSide = 8;

// Noise, one quarter of the picture bright: which one is the class, of four.
class Quarters : public Dataset {
 public:
  std::int64_t count = 160;
  bool shuffled = false;    // labels that have nothing to do with the pictures
  bool imbalanced = false;  // nine tenths are class 0
  int milliseconds = 0;     // that each picture takes to load

  std::int64_t size() const override { return count; }
  const std::vector<std::string>& classes() const override { return classes_; }
  std::int64_t quarter(std::int64_t i) const {
    return imbalanced && i % 10 != 0 ? 0 : i / 10 * 7 % 4 == 0 ? i % 4 : (i + 1) % 4;
  }
  std::int64_t label(std::int64_t i) const override {
    return shuffled ? static_cast<std::int64_t>(
                          PhiloxStream(static_cast<std::uint64_t>(i) + 77).below(4))
                    : quarter(i);
  }
  std::string name(std::int64_t i) const override { return std::to_string(i); }
  ImageView image(std::int64_t i) const override {
    if (milliseconds > 0) std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
    auto picture = std::make_shared<Image>(kSide, kSide, 1);
    PhiloxStream random(static_cast<std::uint64_t>(i));
    const std::int64_t bright = quarter(i);
    for (int y = 0; y < kSide; ++y) {
      for (int x = 0; x < kSide; ++x) {
        const bool own = (y < kSide / 2 ? 0 : 2) + (x < kSide / 2 ? 0 : 1) == bright;
        *picture->at(y, x) = static_cast<std::uint8_t>(random.below(120) + (own ? 130u : 0u));
      }
    }
    ImageView view = view_of(*picture);
    view.owner = picture;
    return view;
  }
  int channels() const override { return 1; }

 private:
  std::vector<std::string> classes_{"a", "b", "c", "d"};
};

enum class Net { plain, dead, saturated, exploding };

// A small net with or without a planted fault.
class PlantedNet final : public Classifier {
 public:
  explicit PlantedNet(Net kind)
      : Classifier({.name = "planted", .classes = 4, .channels = 1, .image_size = kSide}),
        kind_(kind) {
    const int depth = kind == Net::exploding ? 20 : 3;
    for (int i = 0; i < depth; ++i) {
      layers_.emplace_back(*this, "fc" + std::to_string(i + 1), i == 0 ? kSide * kSide : 32, 32);
    }
    last_.emplace(*this, "head", 32, 4, LinearOptions{.relu_follows = false});
    for (const ParameterRef& parameter : parameters()) {
      const auto values = parameter->value.values<float>();
      if (kind == Net::exploding && parameter->name.ends_with("weight")) {
        for (float& v : values) v *= 4;
      }
      if (kind == Net::saturated && parameter->name == "fc2.weight") {
        for (float& v : values) v *= 200;
      }
      if (kind == Net::dead && parameter->name == "fc2.bias") {
        for (float& v : values) v = -100;
      }
    }
  }
  Var logits(Var x) const override {
    x = flatten(x);
    for (const Linear& layer : layers_) {
      const Tape::Scope in(x.tape(), layer.scope_name());
      x = kind_ == Net::saturated ? tanh(layer.forward(x)) : relu(layer.forward(x));
    }
    return (*last_)(x);
  }

 private:
  Net kind_;
  std::deque<Linear> layers_;
  std::optional<Linear> last_;
};

struct Case {
  Net net = Net::plain;
  double rate = 0.05;
  std::int64_t epochs = 12;
  std::function<void(Quarters&)> change = [](Quarters&) {};
};

// What the history of such a training holds.
History history_of(const Case& c) {
  auto train = std::make_shared<Quarters>();
  c.change(*train);
  auto all = std::make_shared<Quarters>();
  c.change(*all);
  all->count = 400;
  all->milliseconds = 0;
  std::vector<std::int64_t> held_out;
  for (std::int64_t i = 200; i < 320; ++i) held_out.push_back(i);
  const auto validation = std::make_shared<Subset>(all, held_out);
  PlantedNet net(c.net);
  const Classification task(net.config(), {});
  TrainerOptions options;
  options.epochs = c.epochs;
  options.batch_size = 16;
  options.log_every = 5;
  options.statistics_every = 5;
  options.loader_threads = 0;
  options.schedule.peak = c.rate;
  options.schedule.name = "constant";
  const Pipeline pipeline({ToTensor{}, Normalize{{0.4}, {0.3}}});
  Trainer trainer(net, task, train, validation, pipeline, pipeline, options);
  inspection::PulseProbe probe(
      [&](Tape&, Var image) {
        return std::vector{net({{"image", image}}).at("logits")};
      },
      {kSide, kSide, 1}, {});
  Loader loader(validation, pipeline, {.batch_size = 32, .threads = 0});
  loader.start(0);
  Batch batch;
  loader.next(batch);
  History h;
  h.has_start = true;
  h.start.model = "planted";
  h.start.loss = "nll";
  h.start.epochs = c.epochs;
  h.start.batch_size = options.batch_size;
  h.start.learning_rate = c.rate;
  h.start.classes = train->classes();
  h.start.images.assign(4, 0);
  for (std::int64_t i = 0; i < train->size(); ++i) {
    ++h.start.images[static_cast<std::size_t>(train->label(i))];
  }
  h.start.validation_images = validation->size();
  h.start.parameters = trainer.statistics_names();
  TrainerEvents events;
  events.step = [&](const StepRecord& r) { h.steps.push_back(r); };
  events.statistics = [&](const StatisticsRecord& r) { h.statistics.push_back(r); };
  events.epoch = [&](const EpochRecord& r) {
    h.epochs.push_back(r);
    // What a busy machine waits for is none of the planted troubles.
    if (train->milliseconds == 0) h.epochs.back().data_wait_seconds = 0;
    h.pulses.push_back({r.step, r.epoch, probe.measure(batch["image"])});
  };
  Progress progress;
  try {
    trainer.run(progress, events);
  } catch (const Error& error) {
    h.failure = error.what();
  }
  return h;
}

std::set<std::string> kinds(const History& history) {
  std::set<std::string> names;
  for (const Finding& finding : diagnose(history)) {
    if (finding.is_problem) names.insert(finding.kind);
    EXPECT_FALSE(finding.evidence.empty());
    EXPECT_FALSE(finding.advice.empty());
  }
  return names;
}

TEST(Diagnosis, IsSilentOnAHealthyTraining) {
  const History h = history_of({});
  EXPECT_GT(h.epochs.back().validation_score, 0.9);
  EXPECT_EQ(kinds(h), std::set<std::string>{}) << to_text(h, diagnose(h));
}

// What is wrong first, and no more than a screen of numbers unless asked for.
TEST(Diagnosis, TextBeginsWithTheFindingsAndFitsAScreen) {
  History h = history_of({.epochs = 30});
  for (int i = 0; i < 60; ++i) {  // a deep net's
    h.start.parameters.push_back("layer3.22.bn" + std::to_string(i) + ".weight");
    for (StatisticsRecord& r : h.statistics) {
      r.gradient.push_back(1);
      r.half_gradient.push_back(1);
      r.weight.push_back(1);
      r.update.push_back(i == 33 ? 1e-9 : 1e-3);
    }
  }
  const std::string text = to_text(h, diagnose(h)), all = to_text(h, diagnose(h), true);
  EXPECT_LT(text.find("diagnosis"), text.find("train loss"));
  EXPECT_LE(std::count(text.begin(), text.end(), '\n'), 40);
  EXPECT_GE(std::count(all.begin(), all.end(), '\n'), 30 + 68);
  EXPECT_NE(text.find("layer3.22.bn33.weight"), std::string::npos) << "the odd one is shown";
  EXPECT_NE(text.find("--all lists the rest"), std::string::npos);
  EXPECT_NE(all.find("layer3.22.bn59.weight"), std::string::npos);
  for (std::size_t begin = 0, end; (end = text.find('\n', begin)) != std::string::npos;
       begin = end + 1) {
    if (text[begin] != ' ' && text.substr(begin, 9) != "diagnosis") {
      EXPECT_LE(end - begin, 90u);
    }
  }
}

TEST(Diagnosis, NamesADeadLayer) {
  const auto found = kinds(history_of({.net = Net::dead}));
  EXPECT_TRUE(found.contains("dead-layer"));
  EXPECT_FALSE(found.contains("nothing-learnt")) << "the cause, not its consequence";
}

TEST(Diagnosis, NamesSaturation) {
  EXPECT_TRUE(kinds(history_of({.net = Net::saturated, .rate = 0.01})).contains("saturated"));
}

TEST(Diagnosis, NamesARateThatIsTooHigh) {
  EXPECT_TRUE(kinds(history_of({.rate = 50})).contains("learning-rate-too-high"));
}

TEST(Diagnosis, NamesARateThatIsTooLow) {
  EXPECT_EQ(kinds(history_of({.rate = 0.05 / 10000})),
            std::set<std::string>{"learning-rate-too-low"});
}

TEST(Diagnosis, NamesLabelsThatDoNotBelongToThePictures) {
  const auto found = kinds(history_of(
      {.rate = 0.1, .epochs = 60, .change = [](Quarters& data) { data.shuffled = true; }}));
  EXPECT_TRUE(found.contains("labels-unrelated") || found.contains("nothing-learnt"));
}

TEST(Diagnosis, NamesExplodingGradients) {
  EXPECT_TRUE(kinds(history_of({.net = Net::exploding})).contains("exploding-gradients"));
}

TEST(Diagnosis, NamesAStarvedLoader) {
  const auto found =
      kinds(history_of({.epochs = 2, .change = [](Quarters& data) { data.milliseconds = 20; }}));
  EXPECT_TRUE(found.contains("data-starvation"));
}

TEST(Diagnosis, NamesImbalance) {
  EXPECT_TRUE(
      kinds(history_of({.epochs = 2, .change = [](Quarters& data) { data.imbalanced = true; }}))
          .contains("class-imbalance"));
}

TEST(Diagnosis, NamesOverfitting) {
  History h;
  h.start.classes = {"a", "b"};
  h.start.images = {50, 50};
  h.start.validation_images = 100;
  h.start.loss = "nll";
  for (int i = 1; i <= 20; ++i) {
    EpochRecord e;
    e.epoch = i;
    e.train_loss = 0.7 / i;
    e.validated = true;
    e.validation_loss = i < 6 ? 0.7 - 0.05 * i : 0.4 + 0.05 * (i - 5);
    e.validation_score = 0.8;
    e.seconds = 1;
    h.epochs.push_back(e);
  }
  EXPECT_EQ(kinds(h), std::set<std::string>{"overfitting"});
}

// Gradients g = G + noise / sqrt(B) of a known noise scale.
TEST(Diagnosis, NoiseScaleOfKnownGradients) {
  constexpr int kSize = 2000, kRecords = 200;
  constexpr double kSignal = 0.05, kNoise = 1.0;  // each element's mean and per-sample std
  History h;
  h.start.parameters = {"w.weight"};
  for (int r = 0; r < kRecords; ++r) {
    double large = 0, small = 0;
    PhiloxStream random(static_cast<std::uint64_t>(r));
    for (int i = 0; i < kSize; ++i) {
      const double a =
          kSignal + kNoise * random.normal() / std::sqrt(8.0);  // first half, 8 samples
      const double b = kSignal + kNoise * random.normal() / std::sqrt(8.0);  // second half
      small += a * a;
      large += (a + b) * (a + b) / 4;
    }
    StatisticsRecord record;
    record.gradient = {std::sqrt(large)};
    record.half_gradient = {std::sqrt(small)};
    record.weight = record.update = {1};
    record.batch = 16;
    record.half = 8;
    h.statistics.push_back(record);
  }
  EXPECT_NEAR(gradient_noise_scale(h), kNoise * kNoise / (kSignal * kSignal), 40);
  // |E g| / std g of the batch's gradient: 0.05 / (1 / 4).
  EXPECT_NEAR(parameter_statistics(h)[0].signal_to_noise, 0.2, 0.02);
}

TEST(Statistics, AreTheNormsOfWhatTheStepDid) {
  PlantedNet net(Net::plain);
  const Classification task(net.config(), {});
  TrainerOptions options;
  options.epochs = 1;
  options.batch_size = 20;
  options.statistics_every = 1;
  options.log_every = 1;
  options.loader_threads = 0;
  options.optimizer.sgd.momentum = 0;
  options.optimizer.weight_decay = 0;
  options.schedule.peak = 0.1;
  options.schedule.name = "constant";
  auto data = std::make_shared<Quarters>();
  data->count = 20;
  const Pipeline pipeline;
  std::vector<Tensor> before;
  for (const ParameterRef& p : net.trained_parameters()) before.push_back(p->value.clone());
  Trainer trainer(net, task, data, nullptr, pipeline, pipeline, options);
  StatisticsRecord record;
  double norm = 0;
  TrainerEvents events;
  events.statistics = [&](const StatisticsRecord& r) { record = r; };
  events.step = [&](const StepRecord& r) { norm = r.gradient_norm; };
  Progress progress;
  trainer.run(progress, events);
  double squares = 0;
  for (std::size_t i = 0; i < before.size(); ++i) {
    const Tensor& now = net.trained_parameters()[i]->value;
    double update = 0, weight = 0;
    for (std::int64_t k = 0; k < now.elements(); ++k) {
      update += std::pow(now.item(k) - before[i].item(k), 2);
      weight += std::pow(before[i].item(k), 2);
    }
    EXPECT_NEAR(record.update[i], std::sqrt(update), 1e-5 + 1e-3 * std::sqrt(update));
    EXPECT_NEAR(record.weight[i], std::sqrt(weight), 1e-5 * (1 + std::sqrt(weight)));
    // Plain gradient descent: the update is the rate times the gradient.
    EXPECT_NEAR(record.update[i], 0.1 * record.gradient[i], 1e-5 + 1e-3 * record.update[i]);
    squares += record.gradient[i] * record.gradient[i];
  }
  EXPECT_NEAR(std::sqrt(squares), norm, 1e-5 * norm);
  EXPECT_EQ(record.batch, 20);
  EXPECT_EQ(record.half, 10);
  EXPECT_EQ(record.half_gradient.size(), record.gradient.size());
}

TEST(History, ComesBackAsItWasWritten) {
  TemporaryFolder folder;
  const std::filesystem::path run = folder / "run";
  std::filesystem::create_directories(run);
  {
    HistoryWriter writer(run, false, 0);
    HistoryStart start;
    start.model = "lenet";
    start.classes = {"a", "b"};
    start.images = {3, 4};
    start.score = "AP";
    start.parameters = {"w"};
    writer.add(start);
    writer.add(StepRecord{1, 1, 0.5, 0.1, 2, 100});
    writer.add(StatisticsRecord{1, 1, {2}, {3}, {0.25}, {2.5}, 16, 8, 0.1});
    EpochRecord epoch;
    epoch.epoch = 1;
    epoch.step = 4;
    epoch.train_loss = 0.25;
    epoch.validated = true;
    epoch.validation_score = 0.5;
    epoch.terms = {{"part", 0.25}};
    writer.add(epoch);
    writer.add(PulsePoint{4, 1, {{{"relu", "relu", 8, 1, 0.5, 0, 1, 2}}, {{"bn", 0.1, 0.2}}}});
    writer.add(4, {{1, "rose", "grad-cam", "a", 0.7, "b", "watch/x.png"}});
    writer.add(StepRecord{9, 2, std::nan(""), 0.1, 2, 100, {{"part", 0.5}, {"other", 3}}});
    writer.add_failure(9, 2, "loss");
  }
  const History h = read_history(run);
  EXPECT_TRUE(h.notes.empty());
  EXPECT_EQ(h.start.images, (std::vector<std::int64_t>{3, 4}));
  ASSERT_EQ(h.steps.size(), 2u);
  EXPECT_TRUE(std::isnan(h.steps[1].loss));
  EXPECT_EQ(h.statistics.at(0).half_gradient, std::vector<double>{2.5});
  EXPECT_EQ(h.epochs.at(0).validation_score, 0.5);
  EXPECT_EQ(h.start.score, "AP");
  EXPECT_TRUE(h.steps[0].terms.empty());
  ASSERT_EQ(h.steps[1].terms.size(), 2u);
  EXPECT_EQ(h.steps[1].terms[0].name, "part");
  EXPECT_EQ(h.steps[1].terms[1].value, 3);
  EXPECT_EQ(h.epochs.at(0).terms.at(0).value, 0.25);
  EXPECT_NE(to_text(h, {}).find("val. AP"), std::string::npos);
  const std::string json = to_json(h, {});
  EXPECT_NE(json.find("\"part\": 0.25"), std::string::npos) << json;
  EXPECT_EQ(h.pulses.at(0).pulse.activations.at(0).dead, 1);
  EXPECT_EQ(h.pulses.at(0).pulse.norms.at(0).mean_shift, 0.1);
  EXPECT_EQ(h.watched.at(0).target, "a");
  EXPECT_EQ(h.failure, "loss");

  // Resumed at step 4: what came later is gone.
  { HistoryWriter again(run, true, 4); }
  EXPECT_EQ(read_history(run).steps.size(), 1u);
  EXPECT_EQ(read_history(run).failure, "");

  // A last line that is cut short is a note; a newer version is an error.
  std::ofstream(run / "history.jsonl", std::ios::app) << "{\"step\":5,\"epo";
  const History cut = read_history(run);
  ASSERT_EQ(cut.notes.size(), 1u);
  EXPECT_NE(cut.notes[0].find("cut short"), std::string::npos);
  EXPECT_EQ(cut.steps.size(), 1u);
  std::ofstream(run / "history.jsonl") << "{\"step\":0,\"start\":{\"version\":99}}\n";
  EXPECT_THROW(read_history(run), Error);
  EXPECT_THROW(read_history(folder / "nothing"), Error);
}

TEST(EventFile, ChecksumIsTheStandardOne) {
  EXPECT_EQ(crc32c("123456789"), 0xe3069283u);  // RFC 3720, appendix B.4 and the usual check value
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aau);
}

TEST(EventFile, RecordsReadBackAndDamageIsSeen) {
  TemporaryFolder folder;
  std::filesystem::path path;
  {
    EventFile file(folder / "tb");
    path = file.path();
    file.scalar("loss", 300, 0.5);
    const float values[] = {1, 2, 3, NAN};
    file.histogram("w", 300, values);
    const std::uint8_t png[] = {1, 2, 3};
    file.image("picture", 2, 4, 5, 3, png);
  }
  const std::vector<std::string> records = read_records(path);
  ASSERT_EQ(records.size(), 4u);
  EXPECT_NE(records[0].find("brain.Event:2"), std::string::npos);
  // Written out by hand from the protocol: field 2 (step), varint 300; field 5, Summary of 14
  // bytes; field 1, Value of 12 bytes; tag "loss"; simple_value 0.5f.
  const std::string expected("\x10\xac\x02\x2a\x0d\x0a\x0b\x0a\x04loss\x15\x00\x00\x00\x3f", 18);
  EXPECT_EQ(records[1].substr(9), expected);
  EXPECT_EQ(static_cast<int>(records[1][0]), 0x09);  // field 1, a double: the time
  double three = 3;
  std::string bytes(8, ' ');
  std::memcpy(bytes.data(), &three, 8);
  EXPECT_NE(records[2].find(std::string("\x19", 1) + bytes), std::string::npos) << "num = 3";
  std::vector<std::uint8_t> content = get(path);
  content[content.size() - 6] ^= 1;
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(content.data()),
             static_cast<std::streamsize>(content.size()));
  EXPECT_THROW(read_records(path), Error);
  std::filesystem::resize_file(path, content.size() - 3);
  EXPECT_THROW(read_records(path), Error);
}

}  // namespace
}  // namespace tapescope::monitoring
