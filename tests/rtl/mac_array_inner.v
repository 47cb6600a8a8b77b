// Zero-skipping MAC array, inner dataflow: rows of the tile go to the lanes in passes of LANES, and
// a window of activations is handed to all lanes at once when each has room for it.  Lanes meet at
// the end of each pass.
//
// A job is one tile by `job_rows` rows of activations.  It is taken in cycle t; windows can be
// handed over from t + 1, and job_done is in the cycle of the last sum.

module mac_array_inner #(
    parameter LANES = 4,
    parameter MACS = 2,
    parameter WINDOW = 8,
    parameter QUEUE_DEPTH = 2,
    parameter WEIGHT_BITS = 8,
    parameter HALVES = 1,
    parameter SKIP_WEIGHTS = 1,
    parameter SKIP_ACTIVATIONS = 0,
    parameter BANK_BITS = 12
) (
    input  wire                                clk,
    input  wire                                reset,
    input  wire                                job_valid,
    output wire                                job_ready,
    input  wire [15:0]                         job_windows,
    input  wire [15:0]                         job_passes,
    input  wire [15:0]                         job_rows,
    input  wire [WINDOW-1:0]                   job_tail,
    input  wire [BANK_BITS-1:0]                job_base,
    output wire                                job_done,
    // Weight banks: bank 2 * lane holds the even words of a lane, the next one the odd words.
    input  wire [2*LANES-1:0]                  write_enable,
    input  wire [2*LANES*(BANK_BITS-1)-1:0]    write_address,
    input  wire [2*LANES*WINDOW*WEIGHT_BITS-1:0] write_data,
    input  wire                                act_valid,
    output wire                                act_ready,
    input  wire [WINDOW*HALVES*8-1:0]          act_data,
    output wire [LANES-1:0]                    sum_valid,
    output wire [LANES*32-1:0]                 sum_data
);
    reg busy, all_sent;
    reg [15:0] windows, passes, rows, window, pass, row;
    reg [WINDOW-1:0] tail;
    reg [LANES-1:0] finished;
    wire [LANES-1:0] room, idle_next, ends_job;
    wire load = job_valid && job_ready;
    wire last_window = window + 1 == windows;
    wire last_pass = pass + 1 == passes;
    wire last_row = row + 1 == rows;
    wire push = act_valid && act_ready;

    assign job_ready = !busy;
    assign act_ready = busy && !all_sent && (&room) && (window != 0 || (&idle_next));
    assign job_done = busy && (&(finished | ends_job));

    always @(posedge clk)
        if (reset) begin
            busy <= 1'b0;
            all_sent <= 1'b0;
        end else if (load) begin
            busy <= 1'b1;
            all_sent <= 1'b0;
            finished <= 0;
            {window, pass, row} <= 0;
            windows <= job_windows;
            passes <= job_passes;
            rows <= job_rows;
            tail <= job_tail;
        end else begin
            if (job_done) busy <= 1'b0;
            finished <= finished | ends_job;
            if (push) begin
                window <= last_window ? 0 : window + 1'b1;
                if (last_window) pass <= last_pass ? 0 : pass + 1'b1;
                if (last_window && last_pass) row <= row + 1'b1;
                all_sent <= last_window && last_pass && last_row;
            end
        end

    genvar lane;
    generate
        for (lane = 0; lane < LANES; lane = lane + 1) begin : lanes
            mac_lane_inner #(
                .MACS(MACS), .WINDOW(WINDOW), .QUEUE_DEPTH(QUEUE_DEPTH),
                .WEIGHT_BITS(WEIGHT_BITS), .HALVES(HALVES), .SKIP_WEIGHTS(SKIP_WEIGHTS),
                .SKIP_ACTIVATIONS(SKIP_ACTIVATIONS), .BANK_BITS(BANK_BITS)
            ) lane_i (
                .clk(clk), .reset(reset), .load(load), .base(job_base),
                .write_enable(write_enable[2*lane +: 2]),
                .write_address(write_address[2*lane*(BANK_BITS-1) +: 2*(BANK_BITS-1)]),
                .write_data(write_data[2*lane*WINDOW*WEIGHT_BITS +: 2*WINDOW*WEIGHT_BITS]),
                .push(push), .push_data(act_data),
                .push_positions(last_window ? tail : {WINDOW{1'b1}}),
                .push_ends_sum(last_window), .push_ends_row(last_window && last_pass),
                .push_ends_job(last_window && last_pass && last_row),
                .room(room[lane]), .idle_next(idle_next[lane]),
                .sum_valid(sum_valid[lane]), .sum_ends_job(ends_job[lane]),
                .sum_data(sum_data[lane*32 +: 32])
            );
        end
    endgenerate
endmodule
