#include "tools/data/splits.h"

#include <algorithm>
#include <array>
#include <unordered_map>
#include <unordered_set>

#include "engine/error.h"
#include "tools/data/image_folder.h"
#include "tools/files/text.h"

namespace tapescope {
namespace {

constexpr std::array<Part, 3> kParts = {Part::train, Part::validation, Part::test};
unsigned bit(Part part) { return 1u << static_cast<unsigned>(part); }

using DatasetRef = std::shared_ptr<const Dataset>;

DatasetRef& place(DataSplits& splits, Part part) {
  return part == Part::train        ? splits.train
         : part == Part::validation ? splits.validation
         : part == Part::test       ? splits.test
                                    : splits.unused;
}

struct Item {
  Part folder;  // whose folder it lies in
  std::int64_t index;
  std::int64_t label, stratum;
  std::uint64_t hash;
  Part part;
  std::int64_t line = SplitComparison::kNew;
};

struct Example {
  std::int64_t count = 0;
  std::string name;
};

class Division {
 public:
  Division(DataSplits& splits, const DataOptions& options, const DivisionRules& rules)
      : splits_(splits), options_(options), rules_(rules) {
    for (Part part : kParts) {
      folders_[static_cast<std::size_t>(part)] = place(splits, part);
      const DatasetRef& data = place(splits, part);
      for (std::int64_t i = 0; data != nullptr && i < data->size(); ++i) {
        items_.push_back({part, i, data->label(i),
                          rules.stratum ? rules.stratum(*data, i) : data->label(i),
                          data->content(i).hash, part});
      }
    }
    draws_test_ = folder(Part::test) == nullptr && options.test_fraction > 0;
    draws_validation_ = folder(Part::validation) == nullptr && options.validation_fraction > 0;
  }

  // False where the record is of other data.
  bool by_record() {
    const SplitRecord& record = *options_.record;
    std::vector<FoundPicture> found;
    for (const Item& item : items_) {
      const unsigned drawn = item.folder != Part::train
                                 ? 0u
                                 : (draws_test_ ? bit(Part::test) : 0u) |
                                       (draws_validation_ ? bit(Part::validation) : 0u);
      found.push_back({data_of(item).classes()[static_cast<std::size_t>(item.label)],
                       data_of(item).content(item.index), name(item), bit(item.folder) | drawn});
    }
    const SplitComparison comparison = compare(record, found);
    const bool any = std::any_of(comparison.lines.begin(), comparison.lines.end(),
                                 [](std::int64_t line) { return line != SplitComparison::kNew; });
    if (!any && !options_.resume) return false;
    Example joined, left_out, copies, learnt, other_class;
    const auto count = [&](Example& example, const Item& item) {
      if (example.count++ == 0) example.name = name(item);
    };
    for (std::size_t i = 0; i < items_.size(); ++i) {
      Item& item = items_[i];
      item.line = comparison.lines[i];
      if (item.line >= 0) {
        const RecordedPicture& was = record.pictures[static_cast<std::size_t>(item.line)];
        item.part = was.part;
        if (item.folder == Part::test && was.part != Part::test) count(learnt, item);
        if (was.label != found[i].label) count(other_class, item);
      } else if (item.line == SplitComparison::kCopy) {
        item.part = Part::unused;
        count(copies, item);
      } else {
        item.part = part_of_new(item);
        count(item.part == Part::test ? joined : left_out, item);
      }
    }
    if (options_.resume) {
      splits_.changes = comparison.changes;
      for (const std::int64_t line : comparison.gone) {
        splits_.gone.push_back(record.pictures[static_cast<std::size_t>(line)]);
      }
      return true;
    }
    notice(joined, "new to the run: in test");
    notice(left_out, "new to the run: in no split");
    notice(learnt, "of the folder of test, used in training: left out of test");
    notice(copies, "that are further copies of the run's: left out");
    notice(other_class, "labelled otherwise than in training");
    return true;
  }

  void by_folder_and_draw() {
    if (draws_test_) draw(Part::test, options_.test_fraction);
    const std::int64_t train = std::count_if(
        items_.begin(), items_.end(), [](const Item& item) { return item.part == Part::train; });
    if (options_.limit > 0 && options_.limit < train) {
      draw(Part::unused, static_cast<double>(options_.limit) / static_cast<double>(train));
    }
    if (draws_validation_) draw(Part::validation, options_.validation_fraction);
    leave_out_repeated();
  }

  // Parts become data sets: recorded pictures in the record's order, others in the folders'.
  void assemble() {
    for (Part part : {Part::train, Part::validation, Part::test, Part::unused}) {
      std::vector<const Item*> chosen;
      for (const Item& item : items_) {
        if (item.part == part) chosen.push_back(&item);
      }
      std::stable_sort(chosen.begin(), chosen.end(), [](const Item* a, const Item* b) {
        const auto rank = [](const Item* item) { return item->line < 0 ? INT64_MAX : item->line; };
        return rank(a) < rank(b);
      });
      place(splits_, part) = data_set(chosen);
    }
  }

 private:
  const DatasetRef& folder(Part part) const { return folders_[static_cast<std::size_t>(part)]; }
  const Dataset& data_of(const Item& item) const { return *folder(item.folder); }
  std::string name(const Item& item) const {
    return name_beneath(data_of(item).name(item.index), splits_.path);
  }

  Part part_of_new(const Item& item) const {
    if (item.folder == Part::test) return Part::test;
    const auto drawn = [&](double fraction, const char* purpose) {
      return draw_of(item.hash, options_.seed, purpose) < fraction;
    };
    const bool of_train = item.folder == Part::train;
    if (of_train && draws_test_ && drawn(options_.test_fraction, "test")) return Part::test;
    if (!options_.resume || (of_train && options_.limit > 0)) return Part::unused;
    if (of_train && draws_validation_ && drawn(options_.validation_fraction, "validation")) {
      return Part::validation;
    }
    return item.folder;
  }

  // Of what is in train now, a share goes to `to`; of the limit, what is not in the share.
  void draw(Part to, double share) {
    std::vector<Item*> pool;
    std::vector<std::uint64_t> hashes;
    std::vector<std::int64_t> strata;
    for (Item& item : items_) {
      if (item.part != Part::train) continue;
      pool.push_back(&item);
      hashes.push_back(item.hash);
      strata.push_back(item.stratum);
    }
    const bool limit = to == Part::unused;
    const std::vector<bool> chosen =
        limit ? share_by_content(hashes, strata, share, options_.seed, "limit")
              : drawn_by_content(hashes, strata, share, options_.seed, name_of(to));
    for (std::size_t i = 0; i < pool.size(); ++i) {
      if (chosen[i] != limit) pool[i]->part = to;
    }
  }

  void leave_out_repeated() {
    std::unordered_map<std::uint64_t, std::int64_t> labels;
    Example two_classes;
    for (const Item& item : items_) {
      if (item.part != Part::train) continue;
      const auto [first, fresh] = labels.emplace(item.hash, item.label);
      if (first->second != item.label && two_classes.count++ == 0) two_classes.name = name(item);
    }
    notice(two_classes, "of train, labelled in two ways");
    std::unordered_set<std::uint64_t> before;
    for (Part part : kParts) {
      Example repeated;
      for (Item& item : items_) {
        if (item.part != part || !before.contains(item.hash)) continue;
        if (!rules_.repeated_stay) item.part = Part::unused;
        if (repeated.count++ == 0) repeated.name = name(item);
      }
      for (const Item& item : items_) {
        if (item.part == part) before.insert(item.hash);
      }
      notice(repeated,
             fmt::format("of {0}, in train{1} as well: {2}", name_of(part),
                         part == Part::test ? " or validation" : "",
                         rules_.repeated_stay ? "its figures say nothing about new pictures"
                                              : "left out of " + std::string(name_of(part))));
    }
  }

  DatasetRef data_set(const std::vector<const Item*>& chosen) const {
    if (chosen.empty()) return nullptr;
    const DatasetRef& base = folder(chosen[0]->folder);
    bool whole = static_cast<std::int64_t>(chosen.size()) == base->size();
    std::vector<Subset::Sample> samples;
    for (const Item* item : chosen) {
      whole = whole && item->folder == chosen[0]->folder &&
              item->index == static_cast<std::int64_t>(samples.size());
      samples.emplace_back(folder(item->folder), item->index);
    }
    return whole ? base : std::make_shared<Subset>(std::move(samples));
  }

  void notice(const Example& example, const std::string& what) {
    if (example.count == 0) return;
    splits_.notices.push_back(
        fmt::format("{} picture{} {} ({}{})", example.count, plural(example.count), what,
                    example.count == 1 ? "" : "the first: ", printable(example.name)));
  }

  DataSplits& splits_;
  const DataOptions& options_;
  const DivisionRules& rules_;
  std::array<DatasetRef, 3> folders_;
  std::vector<Item> items_;
  bool draws_test_ = false, draws_validation_ = false;
};

std::vector<std::int64_t> all_labels(const Dataset& data) {
  std::vector<std::int64_t> labels(static_cast<std::size_t>(data.size()));
  for (std::size_t i = 0; i < labels.size(); ++i) {
    labels[i] = data.label(static_cast<std::int64_t>(i));
  }
  return labels;
}

// Sets `chosen` and what is left of `data`.
void set_aside(DatasetRef& data, DatasetRef& chosen, double fraction, std::uint64_t seed,
               const std::string& purpose) {
  if (data == nullptr || fraction <= 0) return;
  StratifiedSplit split = stratified_split(all_labels(*data), fraction, seed, purpose);
  if (split.chosen.empty()) return;
  chosen = std::make_shared<Subset>(data, split.chosen);
  data = std::make_shared<Subset>(data, split.rest);
}

void divide_as_before(DataSplits& splits, const DataOptions& options) {
  if (splits.test == nullptr) {
    set_aside(splits.train, splits.test, options.test_fraction, options.seed, "test");
  }
  if (splits.train != nullptr && options.limit > 0 && options.limit < splits.train->size()) {
    const double share =
        static_cast<double>(options.limit) / static_cast<double>(splits.train->size());
    splits.unused = splits.train;
    set_aside(splits.unused, splits.train, share, options.seed, "limit");
  }
  if (splits.validation == nullptr) {
    set_aside(splits.train, splits.validation, options.validation_fraction, options.seed,
              "validation");
  }
}

}  // namespace

bool by_heads(const DataOptions& options, const std::function<FileSizes()>& measured,
              std::vector<std::string>& notices) {
  if (options.record != nullptr && !options.record->pictures.empty()) return options.record->heads;
  if (options.on_bad_image == BadImage::skip) return false;
  const FileSizes all = measured();
  if (all.bytes <= options.bytes_to_check) return false;
  notices.push_back(fmt::format("{} pictures of {:.1f} GiB are not checked beforehand", all.files,
                                static_cast<double>(all.bytes) / 0x1p30));
  return true;
}

void check_options(const DataOptions& options) {
  const auto check = [](const char* name, double value) {
    if (!(value >= 0 && value < 1)) {
      throw usage_error("the {} fraction is {}; it is from 0 up to, not including, 1", name, value);
    }
  };
  check("validation", options.validation_fraction);
  check("test", options.test_fraction);
  if (options.limit < 0) {
    throw usage_error("the limit of training images is {}; it is 0 (all) or more", options.limit);
  }
  if (options.channels != 0 && options.channels != 1 && options.channels != 3) {
    throw usage_error("pictures have 1 or 3 channels, not {}", options.channels);
  }
}

void divide(DataSplits& splits, const DataOptions& options, const DivisionRules& rules) {
  if (options.record == nullptr && options.draw == Draw::stratified) {
    divide_as_before(splits, options);
    return;
  }
  Division division(splits, options, rules);
  if (options.record == nullptr || !division.by_record()) {
    if (options.draw == Draw::stratified) {
      divide_as_before(splits, options);
      return;
    }
    division.by_folder_and_draw();
  }
  division.assemble();
}

SplitRecord record_of(const DataSplits& splits) {
  SplitRecord record;
  record.heads = splits.heads;
  const auto add = [&](Part part, const DatasetRef& data) {
    for (std::int64_t i = 0; data != nullptr && i < data->size(); ++i) {
      record.pictures.push_back({part, data->classes()[static_cast<std::size_t>(data->label(i))],
                                 data->content(i), name_beneath(data->name(i), splits.path)});
    }
  };
  add(Part::train, splits.train);
  add(Part::validation, splits.validation);
  add(Part::test, splits.test);
  add(Part::unused, splits.unused);
  record.pictures.insert(record.pictures.end(), splits.gone.begin(), splits.gone.end());
  return record;
}

}  // namespace tapescope
