// Runs the golden cases of an lstm-deploy file in OpenVINO; sections in comments are those of FORMAT.md.
#include <nlohmann/json.hpp>
#include <openvino/frontend/manager.hpp>
#include <openvino/openvino.hpp>

#include <cmath>
#include <cstdio>
#include <filesystem>

using json = nlohmann::json;
using Numbers = std::vector<double>;
using Ids = std::vector<int>;

[[noreturn]] void refuse(const std::string& why) { throw std::runtime_error(why); }

bool holds(const json& list, const json& value) { return std::find(list.begin(), list.end(), value) != list.end(); }

void check_known(const std::string& what, const json& found, const json& known) {
    if (holds(known, found)) return;
    refuse(what + " is " + found.dump() + "; expected one of " + known.dump() + "; use a client that knows it");
}

double log_sum(const Numbers& x) {
    double most = *std::max_element(x.begin(), x.end()), sum = 0;
    for (double v : x) sum += std::exp(v - most);
    return most + std::log(sum);
}

struct Crf {  // section 3
    std::vector<Numbers> moves;
    Numbers start, end;

    // ln of the sum of exp s(y) over all y with the given tags, where -1 is any: of one path its score. Two such sums
    // make a marginal, in less code than forward-backward and more time, which short cases do not take.
    double log_paths(const float* e, const Ids& given) const {
        Numbers v(end.size()), next = v, sums = v;
        for (size_t t = 0; t < given.size(); ++t, v = next)
            for (size_t j = 0; j < v.size(); ++j) {
                for (size_t i = 0; i < v.size(); ++i) sums[i] = v[i] + moves[i][j];
                next[j] = (t ? log_sum(sums) : start[j]) + e[t * v.size() + j];
                if (given[t] != -1 && given[t] != int(j)) next[j] = -1e35;  // below what is forbidden at every token
            }
        for (size_t j = 0; j < v.size(); ++j) v[j] += end[j];
        return log_sum(v);
    }
};

struct Client {
    json inputs, outputs, cases;
    ov::InferRequest request;
    size_t tags;
    double largest = 0;
    Crf crf;  // empty where each token gets its best tag
    int wrong = 0;

    explicit Client(const std::string& path) {
        if (!std::filesystem::is_regular_file(path)) refuse("no such file; expected one that lstm-deploy export wrote");
        // Core::read_model would hand what is no ONNX to the readers of other formats, which write to stderr.
        const auto onnx = ov::frontend::FrontEndManager().load_by_framework("onnx");
        const auto model = onnx->convert(onnx->load(path));
        const auto text = [&](const std::string& key) -> std::string {  // section 1
            if (model->has_rt_info("framework", "lstm_deploy." + key))
                return model->get_rt_info<std::string>("framework", "lstm_deploy." + key);
            refuse("has no metadata lstm_deploy." + key + "; expected a file of format 5 or older; export again");
        };
        const auto metadata = [&](const std::string& key) { return json::parse(text(key)); };
        check_known("the format version", text("format_version"), {"1", "2", "3", "4", "5"});
        if (!holds(metadata("runtimes"), "openvino"))
            refuse("claims the runtimes " + text("runtimes") + "; expected openvino; export with --target portable");
        check_known("the precision", text("precision"), {"fp32", "fp16", "rows8"});
        inputs = metadata("inputs");
        for (const auto& i : inputs)
            check_known("an input", i.at("kind"), {"word_ids", "subword_ids", "char_ids", "char_lengths", "lengths"});
        for (const auto& o : metadata("outputs")) outputs[o.at("kind").get<std::string>()] = o.at("name");
        tags = metadata("tags").size();
        const json decoder = metadata("decoder");
        check_known("the decoder", decoder.at("kind"), {"argmax", "crf"});
        if (decoder["kind"] == "crf") crf = {decoder.at("transitions"), decoder.at("start"), decoder.at("end")};
        cases = metadata("golden");
        // Left to itself, OpenVINO computes in 16 bits where the processor can, beyond the tolerance.
        const auto exact = ov::hint::inference_precision(ov::element::f32);
        request = ov::Core().compile_model(model, "CPU", exact).create_infer_request();
    }

    ov::Tensor filled(const json& input, const Ids& rows, size_t width) const {  // section 2
        const std::string kind = input.at("kind"), source = kind == "char_lengths" ? "char_ids" : kind;
        const bool nested = kind == "subword_ids" || kind == "char_ids";
        size_t each = 1;  // ids of a token; of characters as many as the longest has
        for (int row : rows)
            for (size_t t = 0; nested && t < cases[row].at("tokens").size(); ++t)
                each = std::max(each, cases[row].at("inputs").at(kind).at(t).size());
        ov::Shape shape{rows.size(), width, each};
        shape.resize(kind == "lengths" ? 1 : nested ? 3 : 2);
        ov::Tensor tensor(ov::element::i32, shape);
        int* to = tensor.data<int>();
        std::fill_n(to, tensor.get_size(), input.value("padding_id", 0));
        for (size_t r = 0; r < rows.size(); ++r) {
            const size_t n = cases[rows[r]].at("tokens").size();
            if (kind == "lengths") to[r] = int(n);
            for (size_t t = 0; kind != "lengths" && t < n; ++t) {
                const json& given = cases[rows[r]].at("inputs").at(source).at(t);
                const Ids ids = nested ? given.get<Ids>() : Ids{kind == source ? given.get<int>() : int(given.size())};
                for (int id : ids)  // OpenVINO does not look, and reads beside the table
                    if (kind == source && (id < 0 || id >= input.at("rows")))
                        refuse(kind + " holds " + std::to_string(id) + "; expected ids below " + input["rows"].dump());
                std::copy(ids.begin(), ids.end(), to + (r * width + t) * each);
            }
        }
        return tensor;
    }

    void run(const Ids& rows, const char* how) {
        size_t width = 0;
        for (int row : rows) width = std::max(width, cases[row].at("tokens").size());
        for (const auto& input : inputs) request.set_tensor(input.at("name"), filled(input, rows, width));
        request.infer();
        const auto best = request.get_tensor(outputs.at("tag_ids"));
        const auto scores = request.get_tensor(outputs.at(crf.end.empty() ? "log_probs" : "emissions"));
        if (scores.get_shape() != ov::Shape{rows.size(), width, tags})
            refuse("gives scores of another shape than its " + std::to_string(tags) + " tags; export again");
        for (size_t r = 0; r < rows.size(); ++r)
            compare(rows[r], how, best.data<int>() + r * width, scores.data<float>() + r * width * tags, width);
    }

    void compare(int row, const char* how, const int* best, const float* e, size_t width) {  // section 7
        const auto known = [&](int id) { return id >= 0 && id < int(tags); };
        const size_t n = cases[row].at("tokens").size();
        const Ids expected = cases[row].at("tag_ids"), found(best, best + n), any(n, -1);
        if (n != expected.size() || !std::all_of(expected.begin(), expected.end(), known))
            refuse("golden case " + std::to_string(row + 1) + " has no tag for each token; export again");
        const bool paths = !crf.end.empty();
        double w = 0;
        for (size_t t = 0; t < n; ++t) w += 1e-5 * (1 + std::abs(e[t * tags + expected[t]]));
        bool good = std::all_of(best, best + n, known) && std::count(best + n, best + width, -1) == int(width - n);
        if (good && paths) good = found == expected || crf.log_paths(e, found) - crf.log_paths(e, expected) <= w;
        for (size_t t = 0; t < n; ++t) {
            Ids here = any;
            here[t] = expected[t];
            const double is = paths ? crf.log_paths(e, here) - crf.log_paths(e, any) : e[t * tags + expected[t]];
            const double due = std::log(cases[row].at("scores").at(t).get<double>());
            const double off = std::abs(is - due), allowed = paths ? w : 1e-5 * (1 + std::abs(due));  // section 9
            if (good && !paths) good = found[t] == expected[t] || e[t * tags + found[t]] - is <= allowed;
            largest = std::max(largest, off);
            if (off <= allowed) continue;  // NaN is not
            std::printf("case %d %s: log-probability %zu is %.7f; expected %.7f\n", row + 1, how, t + 1, is, due);
            ++wrong;
        }
        if (good) return;
        const std::string got = json(Ids(best, best + width)).dump(), due = json(expected).dump();
        std::printf("case %d %s: tag ids are %s; expected %s, then -1\n", row + 1, how, got.c_str(), due.c_str());
        ++wrong;
    }
};

int main(int count, char** arguments) {
    const std::string path = count == 2 ? arguments[1] : "golden";
    std::string why;
    try {
        if (count != 2) refuse("got " + std::to_string(count - 1) + " arguments; expected one, a model file");
        Client client(path);
        Ids rows;  // without cases of no tokens: alone they would make a batch of no columns
        for (size_t i = 0; i < client.cases.size(); ++i)
            if (!client.cases[i].at("tokens").empty()) rows.push_back(int(i));
        if (rows.empty()) refuse("has no golden cases; expected one or more; export again");
        for (int row : rows) client.run({row}, "alone");
        client.run(rows, "in a batch");
        std::printf("%s: %zu cases, alone and in a batch: %d disagreements, largest difference %.1e\n", path.c_str(),
                    rows.size(), client.wrong, client.largest);
        return client.wrong > 0;
    } catch (const json::exception& e) {
        why = std::string("metadata that is not as in FORMAT.md: ") + e.what() + "; export again";
    } catch (const ov::Exception& e) {
        why = std::string("OpenVINO does not take it; expected what lstm-deploy export wrote; it says: ") + e.what();
    } catch (const std::exception& e) {
        why = e.what();
    }
    std::replace(why.begin(), why.end(), '\n', ' ');  // OpenVINO's errors have several lines
    std::fprintf(stderr, "%s: %s\n", path.c_str(), why.c_str());
    return 1;
}
