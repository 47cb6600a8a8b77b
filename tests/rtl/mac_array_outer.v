// Zero-skipping MAC array, outer dataflow: each activation of a row (each non-zero one, if the
// array skips them) is broadcast to all lanes at once when each has room for it, and lane l scans
// the rows l, l + LANES, ... of that column.  Lanes meet at the end of each row of activations.
//
// The mask of a row's non-zero activations is made when they are written, so that the broadcaster
// finds the next one in a cycle however many zeros lie between.  A row without any takes one cycle.
//
// A job is one tile by `job_rows` rows of activations.  It is taken in cycle t; activations can be
// broadcast from t + 1, and job_done is in the cycle of the last accumulator write.

module mac_array_outer #(
    parameter LANES = 4,
    parameter MACS = 2,
    parameter WINDOW = 8,
    parameter QUEUE_DEPTH = 2,
    parameter WEIGHT_BITS = 8,
    parameter HALVES = 1,
    parameter SKIP_WEIGHTS = 1,
    parameter SKIP_ACTIVATIONS = 1,
    parameter BANK_BITS = 12,
    parameter SUM_BITS = 6,
    parameter COLUMN_BITS = 8,
    parameter ROW_BITS = 3
) (
    input  wire                                clk,
    input  wire                                reset,
    input  wire                                job_valid,
    output wire                                job_ready,
    input  wire [15:0]                         job_rows,
    input  wire [15:0]                         job_columns,
    input  wire [15:0]                         job_outputs,
    input  wire [15:0]                         job_scans,
    // Places of the tile in the banks, and of its activations.
    input  wire [BANK_BITS-1:0]                job_base,
    input  wire [ROW_BITS-1:0]                 job_first_row,
    output wire                                job_done,
    // Weight banks: bank 2 * lane holds the even words of a lane, the next one the odd words.
    input  wire [2*LANES-1:0]                  write_enable,
    input  wire [2*LANES*(BANK_BITS-1)-1:0]    write_address,
    input  wire [2*LANES*WINDOW*WEIGHT_BITS-1:0] write_data,
    input  wire                                act_write_enable,
    input  wire [ROW_BITS-1:0]                 act_write_row,
    input  wire [COLUMN_BITS-1:0]              act_write_column,
    input  wire [HALVES*8-1:0]                 act_write_data,
    input  wire                                act_stall,
    input  wire [SUM_BITS-1:0]                 sum_address,
    output wire [LANES*WINDOW*32-1:0]          sum_data
);
    localparam COLUMNS = 1 << COLUMN_BITS;

    // Activation SRAM with a mark for each value that is broadcast.
    reg [HALVES*8-1:0] activations [0:(1<<(ROW_BITS+COLUMN_BITS))-1];
    reg [COLUMNS-1:0] marks [0:(1<<ROW_BITS)-1];

    always @(posedge clk)
        if (act_write_enable) begin
            activations[{act_write_row, act_write_column}] <= act_write_data;
            marks[act_write_row][act_write_column] <=
                SKIP_ACTIVATIONS == 0 || act_write_data != 0;
        end

    // Broadcaster.
    reg busy, all_sent, fresh;
    reg [1:0] drained;
    reg [15:0] rows, row, scans;
    reg [BANK_BITS-1:0] base;
    reg [ROW_BITS-1:0] first_row;
    wire [ROW_BITS-1:0] act_row = first_row + row[ROW_BITS-1:0];
    reg [COLUMNS-1:0] exists, pending;
    reg [COLUMN_BITS-1:0] column;
    wire [COLUMNS-1:0] current = fresh ? marks[act_row] & exists : pending;
    wire [COLUMNS-1:0] rest = current & (current - 1'b1);
    wire [LANES-1:0] room, idle_next;
    wire load = job_valid && job_ready;
    wire ready = busy && !all_sent && !act_stall && (fresh ? (&idle_next) : (&room));
    wire push = ready && current != 0;
    wire row_done = ready && rest == 0;
    integer i;

    always @(*) begin
        column = 0;
        for (i = COLUMNS - 1; i >= 0; i = i - 1)
            if (current[i]) column = i[COLUMN_BITS-1:0];
    end

    assign job_ready = !busy;
    assign job_done = busy && drained[1];

    always @(posedge clk)
        if (reset) begin
            busy <= 1'b0;
            all_sent <= 1'b0;
        end else if (load) begin
            busy <= 1'b1;
            all_sent <= 1'b0;
            fresh <= 1'b1;
            drained <= 0;
            row <= 0;
            rows <= job_rows;
            scans <= job_scans;
            base <= job_base;
            first_row <= job_first_row;
            for (i = 0; i < COLUMNS; i = i + 1) exists[i] <= i < 32'(job_columns);
        end else begin
            if (job_done) busy <= 1'b0;
            drained <= {drained[0], all_sent && (&idle_next)};
            if (ready) begin
                pending <= rest;
                fresh <= rest == 0;
                if (row_done) begin
                    row <= row + 1'b1;
                    all_sent <= row + 1 == rows;
                end
            end
        end

    genvar lane;
    generate
        for (lane = 0; lane < LANES; lane = lane + 1) begin : lanes
            mac_lane_outer #(
                .MACS(MACS), .WINDOW(WINDOW), .QUEUE_DEPTH(QUEUE_DEPTH),
                .WEIGHT_BITS(WEIGHT_BITS), .HALVES(HALVES), .SKIP_WEIGHTS(SKIP_WEIGHTS),
                .BANK_BITS(BANK_BITS), .SUM_BITS(SUM_BITS)
            ) lane_i (
                .clk(clk), .reset(reset), .load(load),
                .job_rows_of_lane((job_outputs + 16'(LANES - 1 - lane)) / 16'(LANES)),
                .job_scans(job_scans),
                .write_enable(write_enable[2*lane +: 2]),
                .write_address(write_address[2*lane*(BANK_BITS-1) +: 2*(BANK_BITS-1)]),
                .write_data(write_data[2*lane*WINDOW*WEIGHT_BITS +: 2*WINDOW*WEIGHT_BITS]),
                .push(push), .push_value(activations[{act_row, column}]),
                .push_address(base + BANK_BITS'(32'(column) * 32'(scans))),
                .push_sums(SUM_BITS'(row * scans)),
                .room(room[lane]), .idle_next(idle_next[lane]),
                .sum_address(sum_address), .sum_data(sum_data[lane*WINDOW*32 +: WINDOW*32])
            );
        end
    endgenerate
endmodule
